"""MAE of fluorescence microscopy, six stains as channels, ViT-S/16 at 256 pixels.

Command: python tools/train.py configs/cells/vit-s_800e.py --data FOLDER
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: no number; the published ones are of other data than anybody can read. Not run by us.
Deviations from recursionpharma/maes_microscopy: those that all recipes share (docs/methods/README.md); plain blocks, no
    loss on Fourier amplitudes, the same mean and deviation for all images instead of each image's own, AdamW with MAE's
    schedule instead of Lion with one cycle.
Mean and deviation of your images: maetool check FOLDER prints them.
"""

_base_ = [
    "../_base_/encoders/vit-s.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(
    data_preprocessor=dict(mean=[127.5] * 6, std=[127.5] * 6),  # of 8 bits, until yours are known
    encoder=dict(_base_.encoder, img_size=256, in_chans=6, drop_path_rate=0.1),
    target=dict(norm_pix_loss=False),
)
train_dataloader = dict(dataset=dict(root="data/cells/train"))
val_dataloader = dict(dataset=dict(root="data/cells/val"))
val_cfg = dict(bank_dataloader=dict(dataset=dict(root="data/cells/train")))
