"""MixedAE, a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/mixedae/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/mixedae.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=dict(_base_.encoder, type="MixedTransformer", images=4),
    masker=dict(_delete_=True, type="GroupMasker", images=4),
    tasks=dict(
        recognise=dict(
            at="visible",
            weight=0.1,
            decoder=dict(type="VisibleDecoder"),
            target=dict(type="SampleTarget", out_dim=64),
            head=dict(type="SupervisedContrastiveHead", temperature=0.25, images=4),
        ),
    ),
)
