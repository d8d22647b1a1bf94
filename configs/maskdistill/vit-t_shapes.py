"""MaskDistill with a tiny MAE as teacher: a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/maskdistill/vit-t_shapes.py, after
    python tools/train.py configs/mae/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/README.md.
"""

_base_ = [
    "../_base_/models/linear_vit-t_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    target=dict(
        _delete_=True,
        type="FeatureTarget",
        teacher=dict(type="VisionTransformer", img_size=32, patch_size=4, embed_dim=128, depth=4, num_heads=4),
        checkpoint="work_dirs/mae_vit-t_shapes/epoch_10.pth",
        made_by="python tools/train.py configs/mae/vit-t_shapes.py",
    ),
    head=dict(loss="smooth_l1", beta=2.0),
)
