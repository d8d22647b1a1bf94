"""HPM on pixels, a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/hpm/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/hpm.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/hpm.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=_base_.encoder,
    decoder=dict(embed_dim=96, depth=1, num_heads=4),
    teacher=dict(momentum=0.99, final_momentum=0.999),
    tasks=dict(hardness=dict(decoder=dict(depth=1))),
)
