"""MixedAE, a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/mixedae/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/mixedae.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mixedae.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=dict(_base_.encoder, type="MixedTransformer", images=4),
    decoder=dict(embed_dim=96, depth=1, num_heads=4),  # as mae_shapes.py
    tasks=dict(recognise=dict(target=dict(out_dim=64))),
)
