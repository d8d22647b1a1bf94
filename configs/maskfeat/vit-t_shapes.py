"""MaskFeat, a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/maskfeat/vit-t_shapes.py
Hardware: two CPU cores. Measured beside the others in docs/methods/README.md.
"""

_base_ = [
    "../_base_/models/linear_vit-t_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(target=dict(_delete_=True, type="HOGTarget"))
