"""MAE's linear probe, ViT-L/16, 50 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/linear_probe/vit-l_50e.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 16384 is accumulated. Hours: not measured by us at this size.
Expect: 76.0 % top-1 from the published weights; quoted, not run by us.
Deviations from facebookresearch/mae: those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/encoders/vit-l.py",
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_probe.py",
    "../_base_/schedules/linear_probe.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, pooling="cls", frozen=True, batch_norm=True)
train_cfg = dict(max_epochs=50)
