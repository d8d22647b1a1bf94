"""MAE, ViT-S/16, 800 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/mae/vit-s_800e.py [--data FOLDER]; several GPUs: torchrun --nproc_per_node N
    tools/train.py configs/mae/vit-s_800e.py --launcher pytorch
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us at this size.
Expect: no published number for this size and length; not run by us.
The size is not in the paper; decoder and recipe are those of ViT-B.
Deviations from facebookresearch/mae: those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/encoders/vit-s.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder)
train_cfg = dict(max_epochs=800)
