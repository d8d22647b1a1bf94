"""Fine-tuning of the tiny ViT on all labels of 4,000 drawn shapes; without --init from random weights.

Command: python tools/train.py configs/finetune/vit-t_shapes.py --init CHECKPOINT
Hardware: a CPU, a few minutes with one thread. Measured in docs/classification.md.
Deviations from configs/finetune/vit-b_100e.py: no colours, erasing, mixing or smoothing, which cost more than they give
    in so few steps.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/classifier_shapes.py",
    "../_base_/datasets/shapes_labels.py",
    "../_base_/schedules/finetune_shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, pooling="avg", own_norm=True, head_std=2e-5)
