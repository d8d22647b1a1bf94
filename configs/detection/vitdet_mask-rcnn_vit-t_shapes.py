"""Mask R-CNN on the tiny ViT, on 400 drawn shapes with boxes and masks; without --init from random weights.

Command: python tools/train.py configs/detection/vitdet_mask-rcnn_vit-t_shapes.py --init CHECKPOINT [--data FOLDER]
Hardware: two CPU cores. Results: docs/detection.md.
Deviations from vitdet_mask-rcnn_vit-b_coco_100e.py: images of 32 pixels, patches of 4, windows of 4 x 4 patches,
    narrower heads with a larger rate, a cosine, little jitter, because objects of ten pixels cannot shrink.
"""

_base_ = [
    "../_base_/encoders/vitdet-t_shapes.py",
    "../_base_/models/vitdet_shapes.py",
    "../_base_/datasets/shapes_objects.py",
    "../_base_/schedules/vitdet_shapes.py",
    "../_base_/runtime/objects.py",
]

model = dict(encoder=_base_.encoder)
