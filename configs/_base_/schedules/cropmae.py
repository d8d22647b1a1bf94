# Recipe of alexandre-eymael/CropMAE, scripts/; the warm-up is 5 % of the epochs.
_base_ = "mae.py"

base_lr = 1e-4  # per 256 images
effective_batch_size = 2048
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=20, min_lr=0.0)]
train_cfg = dict(max_epochs=400)
