"""MixedAE, ViT-B/16, 800 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/mixedae/vit-b_800e.py [--data FOLDER]
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: 83.5 % top-1 fine-tuned on ImageNet-1K (Chen et al., as ColorMAE's tables quote it); quoted, not run by us.
Deviations: those that all recipes share (docs/methods/README.md); there is no public code of the authors, see
    docs/methods/mixedae.md; rates and batch are MAE's.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/mixedae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=dict(_base_.encoder, type="MixedTransformer", images=4))
