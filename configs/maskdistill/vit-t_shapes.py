"""MaskDistill with an own teacher, the moving average of the encoder: a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/maskdistill/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/README.md.
"""

_base_ = [
    "../_base_/models/linear_vit-t_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    target=dict(_delete_=True, type="MomentumFeatureTarget", momentum=0.99),
    head=dict(loss="smooth_l1", beta=2.0),
)
