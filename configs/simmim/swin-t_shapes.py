"""SimMIM, a tiny Swin of two stages on drawn shapes of 32 pixels.

Command: python tools/train.py configs/simmim/swin-t_shapes.py
Hardware: two CPU cores, a few minutes. Results: docs/methods/README.md.
"""

_base_ = [
    "../_base_/models/simmim.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    masker=dict(unit=2),
    encoder=dict(
        type="SwinTransformer", img_size=32, patch_size=2, embed_dim=64, depths=[1, 3], num_heads=[2, 4], window_size=4
    ),
)
