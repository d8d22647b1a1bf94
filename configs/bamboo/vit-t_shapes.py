"""Bamboo: MAE with a tiny ViT four times as deep and half as wide, on drawn shapes of 32 pixels.

Command: python tools/train.py configs/bamboo/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/bamboo.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=dict(_base_.encoder, embed_dim=64, depth=16, num_heads=2))
