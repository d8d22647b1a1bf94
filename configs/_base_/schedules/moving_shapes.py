# The recipe of shapes.py for the drawn clips.
_base_ = "shapes.py"

base_lr = 8e-3  # 2e-3 at the batch of 64
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=2, min_lr=0.0)]
train_cfg = dict(max_epochs=32, val_interval=16)
