"""MSN, a tiny ViT on crops of grey drawn shapes; an eighth of the patches of the anchor is hidden.

Command: python tools/train.py configs/msn/vit-t_shapes.py
Hardware: two CPU cores, a few minutes. Results: docs/methods/msn.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/msn.py",
    "../_base_/datasets/grey_shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

_light = [_base_.grey, dict(type="torchvision.transforms.v2.ColorJitter", brightness=0.4, contrast=0.4)]
_large = [dict(type="RandomResizedCrop", scale=(0.4, 1.0)), *_light]
_small = [dict(type="RandomResizedCrop", scale=(0.1, 0.4)), *_light]
_views = dict(
    type="SeveralViews",
    views=dict(
        target=dict(pipeline=_large),
        anchor=dict(pipeline=_large),
        focal=dict(pipeline=_small, crops=2, size=16),
    ),
)

model = dict(
    encoder=_base_.encoder,
    masker=dict(mask_ratio=0.125),
    decoder=dict(hidden_dim=256, pool="mean"),  # which kNN looks at
    teacher=dict(momentum=0.99),
    target=dict(out_dim=64),
    head=dict(prototypes=64),
)
train_dataloader = dict(dataset=dict(img_size=48, num_samples=8000, pipeline=[_views]))
val_dataloader = dict(dataset=dict(img_size=48, pipeline=[_views]))
val_cfg = dict(evaluators=dict(knn=dict(dataloader=_base_.val_dataloader)))  # of pictures, not of views
train_cfg = dict(max_epochs=4)
