"""MFF, ViT-B/16, 800 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/mff/vit-b_800e.py [--data FOLDER]
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: 83.7 % top-1 fine-tuned and 68.3 % linear on ImageNet-1K (mmpretrain); quoted, not run by us.
Deviations from mmpretrain: those that all recipes share (docs/methods/README.md); positions encode the column first, as
    in facebookresearch/mae.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/mff.py",
    "../_base_/datasets/imagenet_whole.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder)
train_cfg = dict(max_epochs=800)
