"""MaskDistill with a tiny MAE as teacher: a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/maskdistill/vit-t_shapes.py, after
    python tools/train.py configs/mae/vit-t_shapes.py
Hardware: two CPU cores. Results: docs/methods/README.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mask_tokens_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    encoder=_base_.encoder,
    target=dict(
        _delete_=True,
        type="FeatureTarget",
        teacher=_base_.encoder,
        checkpoint="work_dirs/mae_vit-t_shapes/epoch_10.pth",
        made_by="python tools/train.py configs/mae/vit-t_shapes.py",
    ),
    head=dict(loss="smooth_l1", beta=2.0),
)
