"""MAE fine-tuning, ViT-Ti/16, 100 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/finetune/vit-t_100e.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 1024 is accumulated. Hours: not measured by us at this size.
Expect: no published number for this recipe and size; not run by us.
The size is not in the paper; the recipe is that of ViT-B.
Deviations from facebookresearch/mae: those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/encoders/vit-t.py",
    "../_base_/models/finetune.py",
    "../_base_/datasets/imagenet_finetune.py",
    "../_base_/schedules/finetune.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder)
