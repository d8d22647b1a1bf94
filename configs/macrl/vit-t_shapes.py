"""MACRL, a tiny ViT on crops of grey drawn shapes; 75 % of the strongly changed view are hidden, half of the other.

Command: python tools/train.py configs/macrl/vit-t_shapes.py
Hardware: two CPU cores, a few minutes. Results: docs/methods/macrl.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/macrl.py",
    "../_base_/datasets/grey_shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

_crop = dict(type="RandomResizedCrop", scale=(0.5, 1.0))
_light = [_base_.grey, dict(type="torchvision.transforms.v2.ColorJitter", brightness=0.4, contrast=0.4)]
_views = dict(
    type="SeveralViews",
    views=dict(strong=dict(pipeline=[_crop, *_light]), weak=dict(pipeline=[_crop, _base_.grey])),
)
_small = dict(embed_dim=96, depth=1, num_heads=4)

model = dict(
    encoder=_base_.encoder,
    decoder=_small,
    tasks=dict(
        weak=dict(decoder=_small),
        contrast=dict(decoder=dict(hidden_dim=256, pool="mean"), target=dict(out_dim=64), head=dict(memory=1024)),
    ),
)
train_dataloader = dict(dataset=dict(img_size=48, num_samples=8000, pipeline=[_views]))
val_dataloader = dict(dataset=dict(img_size=48, pipeline=[_views]))
val_cfg = dict(evaluators=dict(knn=dict(dataloader=_base_.val_dataloader)))  # of pictures, not of views
train_cfg = dict(max_epochs=4)
