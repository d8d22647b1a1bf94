"""PixMIM, a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/pixmim/vit-t_shapes.py
Hardware: two CPU cores. Measured with the others in docs/methods/README.md.
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
    target=dict(type="LowFrequencyTarget", radius=6.0),  # 40 at 224 pixels is 5.7 at 32
)
