"""MAE's linear probe, ViT-S/16, 90 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/linear_probe/vit-s_90e.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 16384 is accumulated. Hours: not measured by us at this size.
Expect: 47.1 % top-1 (billpsomas/efficient-probing, batch 4096, best epoch); quoted, not run by us.
The size is not in the paper; the recipe is that of ViT-B.
Deviations from facebookresearch/mae: those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/encoders/vit-s.py",
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_probe.py",
    "../_base_/schedules/linear_probe.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, pooling="cls", frozen=True, batch_norm=True)
