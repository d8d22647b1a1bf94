"""Fine-tuning of the tiny ViT to predict the share of a picture that its objects cover, in percent; a regression.

Command: python tools/train.py configs/finetune/regression_vit-t_shapes.py --init CHECKPOINT
Hardware: a CPU, a minute with one thread. Measured in docs/classification.md.
Deviations from configs/finetune/vit-t_shapes.py: a number to predict instead of a class, and complete pictures, because
    a crop would change the number.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/regressor.py",
    "../_base_/datasets/shapes_measured.py",
    "../_base_/schedules/finetune_shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, pooling="avg", own_norm=True, head_std=2e-5)
