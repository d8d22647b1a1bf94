"""LMD's growing ratios, a tiny ViT on drawn shapes of 32 pixels, which are in the place of latents.

Command: python tools/train.py configs/lmd/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/lmd.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/maskers/growing.py",
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=_base_.encoder,
    masker=dict(_base_.growing, _delete_=True),
    target=dict(norm_pix_loss=False),
)
