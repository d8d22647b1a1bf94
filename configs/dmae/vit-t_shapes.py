"""DMAE with a tiny MAE as teacher: a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/dmae/vit-t_shapes.py, after
    python tools/train.py configs/mae/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/dmae.md.
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
    target=dict(norm_pix_loss=False),
    tasks=dict(
        align=dict(
            at="visible",
            decoder=dict(type="VisibleDecoder", layer=3, predict_prefix=True),
            target=dict(
                type="FeatureTarget",
                teacher=_base_.encoder,
                checkpoint="work_dirs/mae_vit-t_shapes/epoch_10.pth",
                made_by="python tools/train.py configs/mae/vit-t_shapes.py",
                layers=[3],
                sees="visible",
                normalise="length",
                predict_prefix=True,
            ),
            head=dict(type="RegressionHead", loss="l1", normalise="length"),
        ),
    ),
)
