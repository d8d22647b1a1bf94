"""MAE, a tiny ViT on drawn shapes of 32 pixels: the demo.

Command: python tools/train.py configs/mae/vit-t_shapes.py, or make demo
Hardware: two CPU cores, about three minutes.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder)
