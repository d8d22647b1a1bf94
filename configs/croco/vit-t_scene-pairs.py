"""CroCo, a tiny ViT on drawn scenes that are seen from two places; three quarters of the first view are hidden.

Command: python tools/train.py configs/croco/vit-t_scene-pairs.py
Hardware: two CPU cores, a few minutes. Results: docs/methods/croco.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/croco.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

_views = dict(type="SplitViews", groups=dict(first=[0, 1, 2], second=[3, 4, 5]))
_colour = dict(type="torchvision.transforms.v2.ColorJitter", brightness=0.2, contrast=0.2, saturation=0.2)
_pairs = dict(_delete_=True, type="ScenePairsDataset")

model = dict(
    encoder=dict(_base_.encoder, **_base_.croco_encoder),
    masker=dict(mask_ratio=0.75),
    decoder=dict(embed_dim=96, depth=2, num_heads=4),
)
train_dataloader = dict(dataset=dict(**_pairs, num_samples=4000, seed=0, pipeline=[_views, _colour]))
val_dataloader = dict(dataset=dict(**_pairs, num_samples=1000, seed=1, pipeline=[_views]))
val_cfg = dict(evaluators=dict(knn=dict(dataloader=_base_.val_dataloader)))  # of pictures, not of views
train_cfg = dict(max_epochs=9, val_interval=3)
