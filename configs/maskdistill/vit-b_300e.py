"""MaskDistill with CLIP's ViT-B/16 as teacher, ViT-B/16, 300 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/maskdistill/vit-b_300e.py [--data FOLDER], after the teacher's weights are
    written once under timm's names, as docs/methods/maskdistill.md says.
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: no published number of this size is at hand: 88.3 % top-1 fine-tuned is ViT-H's after 300 epochs (abstract).
Deviations: no code is published; settings are those on which two re-implementations agree. Betas (0.9, 0.98) as in BEiT
    v2 for 300 epochs; timm's initialisation; those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/encoders/beit-b.py",
    "../_base_/models/beit.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/beitv2.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    masker=dict(mask_ratio=78 / 196),
    encoder=dict(_base_.encoder, drop_path_rate=0.1),
    target=dict(
        _delete_=True,
        type="FeatureTarget",
        teacher=dict(type="TimmEncoder", name="vit_base_patch16_clip_224"),
        checkpoint="data/teachers/clip_vit-b.pth",
        made_by="the commands in docs/methods/maskdistill.md",
        teacher_mean=(122.771, 116.746, 104.094),
        teacher_std=(68.501, 66.632, 70.323),
    ),
    head=dict(loss="smooth_l1", beta=2.0),
)
