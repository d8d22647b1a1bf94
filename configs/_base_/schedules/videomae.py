# Recipe of MCG-NJU/VideoMAE for Kinetics-400: 64 processes of 32 clips.
_base_ = "mae.py"

effective_batch_size = 2048
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=40, min_lr=8e-5)]  # 1e-5 per 256 clips
train_cfg = dict(max_epochs=800)
