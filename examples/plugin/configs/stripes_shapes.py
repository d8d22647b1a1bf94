"""Striped masks and mean colours on drawn shapes of 32 pixels.

Command, in a checkout of maetool: python tools/train.py examples/plugin/configs/stripes_shapes.py
Differs from configs/mae/vit-t_shapes.py, on which it builds, in the masker and the target.
"""

_base_ = ["../../../configs/mae/vit-t_shapes.py"]

model = dict(
    masker=dict(type="StripeMasker", mask_ratio=0.5),
    target=dict(_delete_=True, type="MeanColourTarget"),
)
