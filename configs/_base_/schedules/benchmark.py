# One schedule for all methods of configs/benchmark: MAE's, shorter, at a batch that one device holds.
_base_ = "mae.py"

effective_batch_size = 512
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=20, min_lr=0.0)]
train_cfg = dict(max_epochs=200)
