"""SimMIM, a tiny ViT on drawn shapes of 32 pixels, with learned positions.

Command: python tools/train.py configs/simmim/vit-t_shapes.py
Hardware: two CPU cores, a few minutes. Results: docs/methods/README.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    masker=dict(_delete_=True, type="AlignedMasker", mask_ratio=0.6, unit=1),
    encoder=dict(_base_.encoder, sees="all", pos_embed="learned"),
    decoder=dict(_delete_=True, type="LinearDecoder"),
    target=dict(norm_pix_loss=False),
    head=dict(loss="l1"),
)
