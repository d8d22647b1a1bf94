"""SimMIM, Swin-B, 100 epochs on ImageNet-1K at 192 pixels.

Command: python tools/train.py configs/simmim/swin-b_100e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 82.8 % top-1 fine-tuned at 192 pixels, 83.5 % at 224, on ImageNet-1K (microsoft/SimMIM); quoted, not run by us.
Deviations from microsoft/SimMIM: those that all recipes share (docs/methods/README.md); the warm-up starts at 0 instead
    of 4e-6; the crop is bicubic instead of bilinear; tables of relative positions and the mask token are decayed.
"""

_base_ = [
    "../_base_/encoders/swin-b.py",
    "../_base_/models/simmim.py",
    "../_base_/datasets/imagenet_large_crops.py",
    "../_base_/schedules/simmim.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, masker=dict(unit=8))  # 8 patches: 32 pixels
base_lr = 1e-4  # per 256 images
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=10, min_lr=4e-5)]
train_cfg = dict(max_epochs=100)
