"""HPM on pixels, ViT-L/16, 800 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/hpm/vit-l_800e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 85.8 % top-1 fine-tuned on ImageNet-1K, 54.6 mIoU on ADE20K (Haochen-Wang409/HPM); quoted, not run by us.
Deviations from Haochen-Wang409/HPM: those of configs/hpm/vit-b_800e.py, whose recipe this is: a script for ViT-L is not
    published.
"""

_base_ = [
    "../_base_/encoders/vit-l.py",
    "../_base_/models/hpm.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder)
effective_batch_size = 2048
