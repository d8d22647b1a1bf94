# The recipe of shapes.py for the drawn clips.
_base_ = "shapes.py"

effective_batch_size = 32
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=1, min_lr=0.0)]
train_cfg = dict(max_epochs=10, val_interval=5)
