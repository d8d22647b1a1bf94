"""Fine-tuning of the tiny ViT with 1 % of the labels of 4,000 drawn shapes, 40 in all.

Command: python tools/train.py configs/few_shot/vit-t-1pct_shapes.py --init CHECKPOINT
Hardware: a CPU, a minute or two with one thread. Measured in docs/classification.md.
Deviations from configs/finetune/vit-t_shapes.py: more epochs, for as many steps.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/classifier_shapes.py",
    "../_base_/datasets/shapes_labels.py",
    "../_base_/schedules/finetune_shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, pooling="avg", own_norm=True, head_std=2e-5)
train_dataloader = dict(batch_size=20, dataset=dict(labels_fraction=0.01))
effective_batch_size = 20
train_cfg = dict(max_epochs=100, val_interval=100)
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=5, min_lr=1e-6)]
