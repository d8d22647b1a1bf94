"""ColorMAE with purple noise, a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/colormae/vit-t-purple_shapes.py
Hardware: two CPU cores, about three minutes. Measured with the other variants in docs/masking.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, masker=dict(type="ColorNoiseMasker", color="purple"))
