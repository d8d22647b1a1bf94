"""PixMIM, ViT-B/16, 300 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/pixmim/vit-b_300e.py [--data FOLDER]
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: 83.1 % top-1 fine-tuned and 63.3 % linear (mmselfsup) on ImageNet-1K; quoted, not run by us.
Deviations from open-mmlab/mmselfsup: those that all recipes share (docs/methods/README.md); the crops are resized
    bicubically instead of bilinearly; the class and mask tokens are decayed, as in MAE.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet_whole.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, target=dict(type="LowFrequencyTarget", radius=40.0))
train_cfg = dict(max_epochs=300)
