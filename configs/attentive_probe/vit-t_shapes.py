"""Attentive probe of the tiny ViT on 4,000 drawn shapes.

Command: python tools/train.py configs/attentive_probe/vit-t_shapes.py --init CHECKPOINT
Hardware: a CPU, a minute or two with one thread. Measured in docs/classification.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/classifier_shapes.py",
    "../_base_/datasets/shapes_labels.py",
    "../_base_/schedules/linear_probe_shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, pooling="attention", frozen=True, batch_norm=True)
