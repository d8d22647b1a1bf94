# Recipe of sunilhoho/EVEREST for UCF101: 8 processes of 24 clips.
_base_ = "videomae.py"

base_lr = 1e-3  # 7.5e-4 at the batch of 192
effective_batch_size = 192
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=40, min_lr=7.5e-6)]  # 1e-5 per 256 clips
train_cfg = dict(max_epochs=3200)
