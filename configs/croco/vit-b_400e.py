"""CroCo, ViT-B/16, 400 epochs on pairs of views of a scene at 224 pixels; 20 of 196 patches of the first stay visible.

Command: python tools/train.py configs/croco/vit-b_400e.py \\
    --cfg-options train_dataloader.dataset.source.sources.0.root=data/pairs/train \\
    val_dataloader.dataset.source.sources.0.root=data/pairs/val
Hardware: any; the effective batch of 256 is accumulated. Hours: not measured by us.
Expect: no number that we know of without a decoder for depth, flow or stereo on top.
Deviations from naver/croco: those that all recipes share (docs/methods/README.md). Its pairs, 1.8 million renderings of
    indoor scenes by Habitat, are not distributed with maetool.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/croco.py",
    "../_base_/datasets/scene_pairs.py",
    "../_base_/schedules/croco.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=dict(_base_.encoder, **_base_.croco_encoder))
