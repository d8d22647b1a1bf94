"""MFF, a tiny ViT on drawn shapes of 32 pixels; all of its four blocks are fused.

Command: python tools/train.py configs/mff/vit-t_shapes.py
Hardware: two CPU cores, a few minutes. Measured with the other variants in docs/methods/README.md.
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
    decoder=dict(
        _delete_=True,
        type="LayerFusionDecoder",
        layers=[1, 2, 3, 4],
        decoder=dict(type="TransformerDecoder", embed_dim=96, depth=1, num_heads=4),
    ),
)
