"""Bamboo: MAE with a deeper and narrower ViT of ViT-B's size, patches of 16, 1,600 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/bamboo/vit-b_1600e.py [--data FOLDER]; in ViT-L's size: --cfg-options
    model.encoder.embed_dim=512 model.encoder.depth=96 model.encoder.num_heads=8
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: 84.2 % top-1 fine-tuned on ImageNet-1K (abstract); quoted, not run by us.
Deviations: no code is published. Four times the depth and half the width are our reading of the paper's rule, with
    heads of 64 numbers as ViT-B has; the schedule is MAE's; those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=dict(_base_.encoder, embed_dim=384, depth=48, num_heads=6))
train_cfg = dict(max_epochs=1600)
