"""I-JEPA, ViT-L/16, 600 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/ijepa/vit-l_600e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 77.5 % top-1 by a linear probe (Assran et al., table 1); quoted, not run by us.
Deviations from facebookresearch/ijepa: rates and warm-up are those of its ViT-H, because it has no config of ViT-L; and
    those of configs/ijepa/vit-h_300e.py.
"""

_base_ = [
    "../_base_/encoders/vit-l.py",
    "../_base_/models/ijepa.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/ijepa.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(encoder=_base_.encoder)
train_dataloader = dict(dataset=dict(pipeline=[dict(type="RandomResizedCrop", scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3))]))
train_cfg = dict(max_epochs=600)
