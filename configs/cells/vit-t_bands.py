"""MAE of pictures of ten channels, a tiny ViT on drawn bands of 32 pixels, which are in the place of stains.

Command: python tools/train.py configs/cells/vit-t_bands.py
Hardware: two CPU cores. As measured: docs/methods/cells.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/bands.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    data_preprocessor=dict(  # of the drawn bands
        mean=[1708, 1944, 2095, 2330, 2723, 2923, 3086, 3148, 2217, 1715],
        std=[2177, 2105, 2136, 2009, 1888, 1833, 1817, 1749, 1445, 1311],
    ),
    encoder=dict(_base_.encoder, in_chans=10),
    target=dict(norm_pix_loss=False),
)
val_cfg = dict(evaluators=dict(probe=dict(type="LinearProbeEvaluator", optional=True)))
train_cfg = dict(max_epochs=8, val_interval=4)
