"""CroCo, a tiny ViT on drawn scenes that are seen from two places; 6 of 64 patches of the first view stay visible.

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
_crop = dict(type="torchvision.transforms.v2.RandomCrop")
_colour = dict(type="torchvision.transforms.v2.ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4)
_pairs = dict(_delete_=True, type="ScenePairsDataset", img_size=36)

model = dict(
    encoder=dict(_base_.encoder, **_base_.croco_encoder),
    decoder=dict(embed_dim=96, depth=1, num_heads=4),
)
train_dataloader = dict(dataset=dict(**_pairs, num_samples=4000, seed=0, pipeline=[_views, _crop, _colour]))
val_dataloader = dict(dataset=dict(**_pairs, num_samples=1000, seed=1, pipeline=[_views, _crop]))
val_cfg = dict(evaluators=dict(knn=dict(dataloader=_base_.val_dataloader)))  # of pictures, not of views
train_cfg = dict(max_epochs=9)
