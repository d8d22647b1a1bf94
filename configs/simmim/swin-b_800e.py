"""SimMIM, Swin-B, 800 epochs on ImageNet-1K at 192 pixels.

Command: python tools/train.py configs/simmim/swin-b_800e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 84.0 % top-1 fine-tuned at 224 pixels on ImageNet-1K (microsoft/SimMIM); quoted, not run by us.
Deviations from microsoft/SimMIM: those that all recipes share (docs/methods/README.md); the crop is bicubic instead of
    bilinear; tables of relative positions and the mask token are decayed.
"""

_base_ = [
    "../_base_/encoders/swin-b.py",
    "../_base_/models/simmim.py",
    "../_base_/datasets/imagenet_large_crops.py",
    "../_base_/schedules/simmim.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, masker=dict(unit=8))  # 8 patches: 32 pixels
train_cfg = dict(max_epochs=800)
