"""MACRL, ViT-B/16, 400 epochs on ImageNet-1K at 224 pixels: 75 % of one view are hidden, 50 % of the other.

Command: python tools/train.py configs/macrl/vit-b_400e.py [--data FOLDER]
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: nothing that we could compare; the paper trains on CIFAR, Tiny-ImageNet and parts of ImageNet.
Deviations: those that all recipes share (docs/methods/README.md); no public code was found, and the recipe is
    MAE's with MoCo's memory and temperature, see docs/methods/macrl.md.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/macrl.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

_v2 = "torchvision.transforms.v2."
_colour = dict(type=_v2 + "ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
_crop = [
    dict(type="RandomResizedCrop", scale=(0.2, 1.0)),
    dict(type="RandomHorizontalFlip", p=0.5),
]
_strong = [
    *_crop,
    dict(type=_v2 + "RandomApply", transforms=[_colour], p=0.8),
    dict(type=_v2 + "RandomGrayscale", p=0.2),
]
_views = dict(type="SeveralViews", views=dict(strong=dict(pipeline=_strong), weak=dict(pipeline=_crop)))

model = dict(encoder=_base_.encoder)
train_dataloader = dict(dataset=dict(pipeline=[_views]))
val_dataloader = dict(dataset=dict(pipeline=[_views]))
val_cfg = dict(evaluators=dict(knn=dict(dataloader=_base_.val_dataloader)))  # of images, not of views
train_cfg = dict(max_epochs=400)
