"""Linear probe of the tiny ViT on 4,000 drawn shapes.

Command: python tools/train.py configs/linear_probe/vit-t_shapes.py --init CHECKPOINT
Hardware: a CPU, a minute or two with one thread. Measured in docs/classification.md.
Deviation from configs/linear_probe/vit-b_90e.py: the mean of the patch tokens, because the class token of so short a
    pretraining holds little.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/classifier_shapes.py",
    "../_base_/datasets/shapes_labels.py",
    "../_base_/schedules/linear_probe_shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, pooling="avg", frozen=True, batch_norm=True)
