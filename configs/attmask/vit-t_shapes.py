"""AttMask's masks in MAE, a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/attmask/vit-t_shapes.py
Hardware: two CPU cores, a few minutes. Results: docs/methods/attmask.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=_base_.encoder,
    masker=dict(_delete_=True, type="AttentionMasker", ratios=(0.75, 0.75), unmasked=0.0, choose="high"),
    teacher=dict(type="MomentumTeacher", momentum=0.99),
)
