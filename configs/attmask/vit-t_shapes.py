"""AttMask's masks in self-distillation, a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/attmask/vit-t_shapes.py
Hardware: two CPU cores, some minutes. As measured: docs/methods/attmask.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mask_tokens_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    encoder=_base_.encoder,
    masker=dict(_delete_=True, type="AttentionMasker", ratios=(0.3, 0.7)),
    teacher=dict(type="MomentumTeacher", layers=[3, 4], momentum=0.99),
    target=dict(_delete_=True, type="TeacherFeatureTarget"),
    head=dict(loss="smooth_l1", beta=2.0),
)
