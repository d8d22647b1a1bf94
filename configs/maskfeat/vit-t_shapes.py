"""MaskFeat, a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/maskfeat/vit-t_shapes.py
Hardware: two CPU cores. Measured with the others in docs/methods/README.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mask_tokens_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(encoder=_base_.encoder, target=dict(_delete_=True, type="HOGTarget"))
