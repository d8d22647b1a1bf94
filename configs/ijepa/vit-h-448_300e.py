"""I-JEPA, ViT-H/16, 300 epochs on ImageNet-1K at 448 pixels.

Command: python tools/train.py configs/ijepa/vit-h-448_300e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 81.1 % top-1 by a linear probe (Assran et al., table 1); quoted, not run by us.
Deviations from facebookresearch/ijepa: those of configs/ijepa/vit-h_300e.py.
"""

_base_ = [
    "../_base_/encoders/vit-h.py",
    "../_base_/models/ijepa.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/ijepa.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(encoder=dict(_base_.encoder, img_size=448, patch_size=16))
train_dataloader = dict(dataset=dict(pipeline=[dict(type="RandomResizedCrop", scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3))]))
