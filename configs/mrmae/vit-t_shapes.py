"""MR-MAE with an own teacher, the moving average of the encoder: a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/mrmae/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/README.md.
"""

_base_ = [
    "../_base_/models/mae_vit-t_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    tasks=dict(
        mimic=dict(
            at="visible",
            decoder=dict(type="VisibleDecoder"),
            target=dict(type="MomentumFeatureTarget", momentum=0.99),
            head=dict(type="RegressionHead", loss="cosine"),
        ),
    ),
)
