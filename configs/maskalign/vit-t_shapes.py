"""MaskAlign with a tiny MAE as teacher: a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/maskalign/vit-t_shapes.py, after
    python tools/train.py configs/mae/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/maskalign.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/maskalign.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

_layers = [2, 3, 4]

model = dict(
    encoder=dict(_base_.encoder, final_norm=False),
    teacher=dict(
        type="FrozenTeacher",
        teacher=_base_.encoder,
        checkpoint="work_dirs/mae_vit-t_shapes/epoch_10.pth",
        made_by="python tools/train.py configs/mae/vit-t_shapes.py",
        layers=_layers,
    ),
    decoder=dict(begin_as=_layers),
    head=dict(weights=[2 / 3] * 3),
)
