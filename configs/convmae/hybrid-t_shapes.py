"""ConvMAE, a tiny hybrid on drawn shapes of 32 pixels.

Command: python tools/train.py configs/convmae/hybrid-t_shapes.py
Hardware: two CPU cores, a few minutes. Results: docs/methods/README.md.
"""

_base_ = [
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=dict(
        type="HybridTransformer",
        img_size=32,
        patch_size=4,
        embed_dim=128,
        depth=3,
        num_heads=4,
        conv_dims=[32, 64],
        conv_depths=[1, 1],
    )
)
