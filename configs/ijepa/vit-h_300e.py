"""I-JEPA, ViT-H/14, 300 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/ijepa/vit-h_300e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 79.3 % top-1 by a linear probe (Assran et al., table 1); quoted, not run by us.
Deviations from facebookresearch/ijepa: contexts of a batch are padded to the longest instead of cut to the shortest;
    and those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/encoders/vit-h.py",
    "../_base_/models/ijepa.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/ijepa.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(encoder=_base_.encoder)
train_dataloader = dict(dataset=dict(pipeline=[dict(type="RandomResizedCrop", scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3))]))
