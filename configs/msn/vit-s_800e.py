"""MSN, ViT-S/16, 800 epochs on ImageNet-1K: an anchor of 224 pixels without 15 % of its patches, ten of 96 pixels.

Command: python tools/train.py configs/msn/vit-s_800e.py [--data FOLDER]
Hardware: as published, 16 GPUs with 64 images each: the loss evens out the prototypes over the images of one pass of
    all processes. sync_bn="torch" lets the batch norms do the same. Hours: not measured by us.
Expect: the repository states no number of ViT-S; ViT-B has 72.4 % top-1 with 5,000 labelled images of ImageNet-1K (the
    MSN paper), quoted, not run by us.
Deviations from facebookresearch/msn: those that all recipes share (docs/methods/README.md); each image drops patches of
    its own, where the published code drops the same of a batch; where gradients are accumulated, batch norms and
    prototypes see the images of one pass at a time.
"""

_base_ = [
    "../_base_/encoders/vit-s.py",
    "../_base_/models/msn.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/msn.py",
    "../_base_/runtime/no_pictures.py",
]

_colour = dict(
    type="torchvision.transforms.v2.ColorJitter",
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
)
_blur = dict(type="torchvision.transforms.v2.GaussianBlur", kernel_size=13, sigma=(0.1, 2.0))
_changes = [
    dict(type="RandomHorizontalFlip", p=0.5),
    dict(type="torchvision.transforms.v2.RandomApply", transforms=[_colour], p=0.8),
    dict(type="torchvision.transforms.v2.RandomGrayscale", p=0.2),
    dict(type="torchvision.transforms.v2.RandomApply", transforms=[_blur], p=0.5),
]
_large = [dict(type="RandomResizedCrop", scale=(0.3, 1.0)), *_changes]
_small = [dict(type="RandomResizedCrop", scale=(0.05, 0.3)), *_changes]
_views = dict(
    type="SeveralViews",
    views=dict(
        target=dict(pipeline=_large),
        anchor=dict(pipeline=_large),
        focal=dict(pipeline=_small, crops=10, size=96),
    ),
)

model = dict(encoder=_base_.encoder)
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=[_views]))
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=[_views]))
val_cfg = dict(evaluators=dict(knn=dict(dataloader=_base_.val_dataloader)))  # of images, not of views
