"""MAE fine-tuning, ViT-B/16, 100 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/finetune/vit-b_100e.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 1024 is accumulated. Hours: not measured by us at this size.
Expect: 83.66 % top-1 from the published weights; four seeds gave 83.46 to 83.66; quoted, not run by us.
Deviations from facebookresearch/mae: those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/finetune.py",
    "../_base_/datasets/imagenet_finetune.py",
    "../_base_/schedules/finetune.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=dict(_base_.encoder, drop_path_rate=0.1))
