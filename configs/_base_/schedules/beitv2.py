# Recipe of BEiT v2 (microsoft/unilm, beit2/PRETRAINING.md), which MaskDistill and CCViT take over.
_base_ = "mae.py"

base_lr = 1.875e-4  # 1.5e-3 at the batch of 2048
effective_batch_size = 2048
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.98)), clip_grad=dict(max_norm=3.0))
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=10, min_lr=1e-5)]
train_cfg = dict(max_epochs=300)
