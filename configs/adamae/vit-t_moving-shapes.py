"""AdaMAE, a tiny ViT on drawn clips of 4 frames of 24 pixels.

Command: python tools/train.py configs/adamae/vit-t_moving-shapes.py
Hardware: two CPU cores. Results: docs/methods/adamae.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_moving_shapes.py",
    "../_base_/models/videomae_moving_shapes.py",
    "../_base_/datasets/moving_shapes.py",
    "../_base_/schedules/moving_shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=_base_.encoder,
    masker=dict(_delete_=True, type="AdaptiveMasker", mask_ratio=0.75),
    masker_weight=1e-3,
)
