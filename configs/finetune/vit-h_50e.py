"""MAE fine-tuning, ViT-H/14, 50 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/finetune/vit-h_50e.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 1024 is accumulated. Hours: not measured by us at this size.
Expect: 86.93 % top-1 from the published weights; quoted, not run by us.
Deviations from facebookresearch/mae: those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/encoders/vit-h.py",
    "../_base_/models/finetune.py",
    "../_base_/datasets/imagenet_finetune.py",
    "../_base_/schedules/finetune.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=dict(_base_.encoder, drop_path_rate=0.3))
base_lr = 1e-3
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.75))
train_cfg = dict(max_epochs=50)
