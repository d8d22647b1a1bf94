"""HPM on pixels, ViT-B/16, 800 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/hpm/vit-b_800e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 84.2 % top-1 fine-tuned on ImageNet-1K, 48.5 mIoU on ADE20K (Haochen-Wang409/HPM); quoted, not run by us.
Deviations from Haochen-Wang409/HPM: those that all recipes share (docs/methods/README.md); the share of hard patches
    and the momentum change with every step instead of every epoch.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/hpm.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder)
effective_batch_size = 2048
