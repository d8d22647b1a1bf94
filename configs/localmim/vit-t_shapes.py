"""LocalMIM, a tiny ViT on drawn shapes of 32 pixels; histograms of gradients in cells of 2, 4 and 8 pixels.

Command: python tools/train.py configs/localmim/vit-t_shapes.py
Hardware: two CPU cores, a few minutes. Measured with the other variants in docs/methods/README.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/localmim_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(encoder=_base_.encoder)
