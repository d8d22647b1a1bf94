"""UPerNet on the tiny ViT, the objects of 3,200 drawn shapes; without --init from random weights.

Command: python tools/train.py configs/segmentation/upernet_vit-t_shapes.py --init CHECKPOINT
Hardware: two CPU cores. Results: docs/segmentation.md.
Deviations from upernet_vit-b_ade20k_160k.py: narrow heads with a larger rate, a smaller weight of the background, no
    colours, no limit on the share of a class, a cosine.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/upernet_shapes.py",
    "../_base_/datasets/shapes_segmentation.py",
    "../_base_/schedules/segmentation_shapes.py",
    "../_base_/runtime/segmentation.py",
]

model = dict(encoder=_base_.encoder)
