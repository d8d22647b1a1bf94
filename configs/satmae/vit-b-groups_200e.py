"""SatMAE with groups of channels, ViT-B/8, 200 epochs on fMoW-Sentinel at 96 pixels, as released.

Command: python tools/train.py configs/satmae/vit-b-groups_200e.py [--data FOLDER]
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: 62.65 % top-1 fine-tuned on fMoW-Sentinel (sustainlab-group/SatMAE); quoted, not run by us.
Deviations from sustainlab-group/SatMAE: those that all recipes share (docs/methods/README.md); bands are scaled, but
    not cut to two deviations around the mean and not rounded to 8 bits; each prediction is compared with its own band,
    where the released code confuses the bands 3 and 6 of the ten.
fMoW-Sentinel is not read as it is published: --data takes a folder of GeoTIFFs or .npy files of all 13 bands.
"""

_base_ = [
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/no_pictures.py",
]

# Of the 13 bands of Sentinel-2 the first and the two of the atmosphere, B1, B9 and B10, are not used.
_groups = dict(visible=(1, 2, 3, 7), red_edge=(4, 5, 6, 8), short_wave=(11, 12))
_mean = [
    1370.19,
    1184.38,
    1120.77,
    1136.26,
    1263.74,
    1645.40,
    1846.87,
    1762.60,
    1972.62,
    582.73,
    14.77,
    1732.16,
    1247.92,
]
_std = [633.15, 650.28, 712.13, 965.23, 948.98, 1108.07, 1258.36, 1233.15, 1364.39, 472.38, 14.31, 1310.37, 1087.60]

model = dict(
    # To [0, 1] between two deviations below the mean and two above it.
    data_preprocessor=dict(mean=[m - 2 * s for m, s in zip(_mean, _std, strict=True)], std=[4 * s for s in _std]),
    masker=dict(_delete_=True, type="StreamMasker", mask_ratio=0.75, across="together"),
    encoder=dict(
        type="StreamTransformer",
        stems=dict(bands=dict(type="GroupStem", groups=_groups, img_size=96, patch_size=8, in_chans=13)),
        embed_dim=768,
        depth=12,
        num_heads=12,
        stream_code="concat",
        code_dim=256,
    ),
    decoder=dict(stream_code="concat", code_dim=128),
    target=dict(_delete_=True, type="StreamTarget", targets=dict(type="PixelTarget", norm_pix_loss=False)),
    head=dict(_delete_=True, type="StreamHead", head=dict(type="RegressionHead", loss="l2")),
)
train_dataloader = dict(dataset=dict(root="data/fmow-sentinel/train"))
val_dataloader = dict(dataset=dict(root="data/fmow-sentinel/val"))
val_cfg = dict(bank_dataloader=dict(dataset=dict(root="data/fmow-sentinel/train")))
base_lr = 1e-4
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=20, min_lr=0.0)]
train_cfg = dict(max_epochs=200)
