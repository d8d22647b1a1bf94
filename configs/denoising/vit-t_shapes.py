"""A denoising autoencoder, to be compared with MAE: a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/denoising/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/uninformative_features.md.
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
    masker=dict(_delete_=True, type="NoMasker"),
    corruption=dict(type="NoiseCorruption", sigma=(1.0, 1.0)),
    target=dict(norm_pix_loss=False),
)
