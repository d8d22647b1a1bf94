"""ColorMAE-G (green noise), ViT-L/16, 800 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/colormae/vit-l_800e.py [--data FOLDER]
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: no number; those of ViT-L are in no table that we could read. Not run by us.
Deviations from carlosh93/ColorMAE: those that all recipes share (docs/methods/README.md); the noise is made here from
    the seed, with our ranges of the Gaussians' deviations, because the published banks' are not stated
    (model.masker.bank_file takes a published bank); each sample draws its own window (per_sample=False is the published
    behaviour); the class and mask tokens are decayed, as in MAE.
"""

_base_ = [
    "../_base_/encoders/vit-l.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, masker=dict(type="ColorNoiseMasker", color="green"))
train_cfg = dict(max_epochs=800)
