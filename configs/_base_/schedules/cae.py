# Recipe of Atten4Vis/CAE, scripts/.
_base_ = "mae.py"

base_lr = 1.875e-4  # 1.5e-3 at the batch of 2048
effective_batch_size = 2048
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999)), clip_grad=dict(max_norm=3.0))
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=20, start_lr=1e-6, min_lr=1e-5)]
train_cfg = dict(max_epochs=800)
