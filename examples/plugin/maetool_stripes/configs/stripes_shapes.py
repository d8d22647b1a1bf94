"""Striped masks and mean colours on drawn shapes of 32 pixels.

Command: maetool train maetool_stripes::stripes_shapes.py
Differs from maetool::mae/vit-t_shapes.py, on which it builds, in the masker, the target and one evaluator more.
"""

_base_ = ["maetool::mae/vit-t_shapes.py"]

model = dict(
    masker=dict(type="StripeMasker", mask_ratio=0.5),
    target=dict(_delete_=True, type="MeanColourTarget"),
)
val_cfg = dict(evaluators=dict(classes=dict(type="ClassMeanEvaluator", optional=True)))
