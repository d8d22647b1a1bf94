"""I-JEPA, a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/ijepa/vit-t_shapes.py
Hardware: two CPU cores, a few minutes. Results: docs/methods/ijepa.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/ijepa_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(encoder=_base_.encoder)
train_cfg = dict(max_epochs=4)
