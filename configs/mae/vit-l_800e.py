"""MAE, ViT-L/16, 800 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/mae/vit-l_800e.py [--data FOLDER]; several GPUs: torchrun --nproc_per_node N
    tools/train.py configs/mae/vit-l_800e.py --launcher pytorch
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us at this size.
Expect: 85.4 % top-1 fine-tuned and 73.7 % linear (mmpretrain) on ImageNet-1K; quoted, not run by us.
Deviations from facebookresearch/mae: those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/encoders/vit-l.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder)
train_cfg = dict(max_epochs=800)
