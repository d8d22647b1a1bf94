"""VideoMAE, a tiny ViT on drawn clips of 4 frames of 24 pixels.

Command: python tools/train.py configs/videomae/vit-t_moving-shapes.py
Hardware: two CPU cores. Results: docs/methods/videomae.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_moving_shapes.py",
    "../_base_/models/videomae_moving_shapes.py",
    "../_base_/datasets/moving_shapes.py",
    "../_base_/schedules/moving_shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder)
