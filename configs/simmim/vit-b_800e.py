"""SimMIM, ViT-B/16, 800 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/simmim/vit-b_800e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 83.8 % top-1 fine-tuned on ImageNet-1K (microsoft/SimMIM); quoted, not run by us.
Deviations from microsoft/SimMIM: those that all recipes share (docs/methods/README.md); the class token and the
    position tables are decayed; the crop is bicubic instead of bilinear; tables of relative positions and the mask
    token are decayed.
"""

_base_ = [
    "../_base_/encoders/beit-b.py",
    "../_base_/models/simmim.py",
    "../_base_/datasets/imagenet_large_crops.py",
    "../_base_/schedules/simmim.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=dict(_base_.encoder, drop_path_rate=0.1),
    masker=dict(unit=2),  # 2 patches: 32 pixels
)
train_cfg = dict(max_epochs=800)
