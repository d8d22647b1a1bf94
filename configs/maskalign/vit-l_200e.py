"""MaskAlign with CLIP's ViT-L/14 as teacher, ViT-L/16, 200 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/maskalign/vit-l_200e.py [--data FOLDER], after the teacher's weights are written
    once under timm's names: as docs/methods/maskdistill.md says, of vit_large_patch14_clip_224.openai into
    data/teachers/clip_vit-l.pth.
Hardware: any; the effective batch of 1024 is accumulated. Hours: not measured by us.
Expect: 87.4 % top-1 fine-tuned on ImageNet-1K (OpenDriveLab/maskalign); quoted, not run by us.
Deviations from OpenDriveLab/maskalign: those of configs/maskalign/vit-b_200e.py; the teacher's images of 196 pixels are
    resized bilinearly with antialiasing instead of bicubically.
"""

_base_ = "vit-b_200e.py"

_layers = [20, 21, 22, 23, 24]

model = dict(
    encoder=dict(embed_dim=1024, depth=24, num_heads=16, drop_path_rate=0.2),
    teacher=dict(
        teacher=dict(name="vit_large_patch14_clip_224", img_size=196),
        checkpoint="data/teachers/clip_vit-l.pth",
        layers=_layers,
        resize=True,
    ),
    decoder=dict(begin_as=_layers),
)
