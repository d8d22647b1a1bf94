"""MAE with 90 % removed, a tiny ViT on drawn shapes of 32 pixels, which are in the place of X-rays.

Command: python tools/train.py configs/thorax/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/thorax.md.
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
    masker=dict(mask_ratio=0.9),
    target=dict(norm_pix_loss=False),
)
