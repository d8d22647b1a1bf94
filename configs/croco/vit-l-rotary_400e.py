"""CroCo v2, ViT-L/16 with rotary positions and a decoder as large as a ViT-B, on pairs of views of a scene.

Command: python tools/train.py configs/croco/vit-l-rotary_400e.py, with options as those of vit-b_400e.py
Hardware: any; the effective batch of 256 is accumulated. Hours: not measured by us.
Expect: no number that we know of without a decoder for flow or stereo on top.
Deviations from naver/croco: those that all recipes share (docs/methods/README.md); schedule and augmentation are those
    of the first version. Its pairs of photographs are not distributed with maetool.
"""

_base_ = [
    "../_base_/encoders/vit-l.py",
    "../_base_/models/croco.py",
    "../_base_/datasets/scene_pairs.py",
    "../_base_/schedules/croco.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=dict(_base_.encoder, **_base_.croco_encoder, pos_embed="rotary"),
    decoder=dict(pos_embed="rotary", embed_dim=768, depth=12, num_heads=12),
)
