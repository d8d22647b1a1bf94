"""LMD: MAE on latents of 4 x 28 x 28 numbers, ViT-L, ratios that grow from 15 to 75 %, 400 epochs on ImageNet-1K.

Command: python tools/train.py configs/lmd/vit-l_400e.py [--data FOLDER], after the latents of data/imagenet are
    written as data/latents/train and data/latents/val, one .npy file an image, as docs/methods/lmd.md says.
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: no number; what the abstract claims is a training three times as fast. Not run by us.
Deviations from AnonymousPony/lmd: those that all recipes share (docs/methods/README.md); latents are written once, of
    the centre of each image, instead of for each crop; MAE's learning rate and batch, because its script states
    neither; the first 0.8 % of the cosine are not left out; the decoder's positions are added.
"""

_base_ = [
    "../_base_/encoders/vit-l.py",
    "../_base_/maskers/growing.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/latents.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(
    data_preprocessor=dict(mean=[0.0] * 4, std=[1.0] * 4),
    encoder=dict(_base_.encoder, img_size=28, patch_size=2, in_chans=4),
    masker=dict(_base_.growing, _delete_=True),
    target=dict(norm_pix_loss=False),
)
train_cfg = dict(max_epochs=400)
