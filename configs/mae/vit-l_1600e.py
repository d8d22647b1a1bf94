"""MAE, ViT-L/16, 1600 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/mae/vit-l_1600e.py [--data FOLDER]; several GPUs: torchrun --nproc_per_node N
    tools/train.py configs/mae/vit-l_1600e.py --launcher pytorch
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us at this size.
Expect: 85.9 % top-1 fine-tuned and 76.0 % linear (published weights) on ImageNet-1K; quoted, not run by us.
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
train_cfg = dict(max_epochs=1600)
