"""LocalMIM with HOG targets, ViT-B/16, 1,600 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/localmim/vit-b_1600e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 84.0 % top-1 fine-tuned on ImageNet-1K (Haoqing-Wang/LocalMIM); quoted, not run by us.
Deviations from Haoqing-Wang/LocalMIM: those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/localmim.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(encoder=_base_.encoder)
base_lr = 2e-4  # per 256 images
effective_batch_size = 2048
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=40, min_lr=1e-6)]
train_cfg = dict(max_epochs=1600)
