"""Deblurring MAE, a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/deblurring/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/deblurring.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=_base_.encoder,
    corruption=dict(type="BlurCorruption", sigma=(0.5, 0.5)),
    target=dict(norm_pix_loss=False),
    at="all",
)
