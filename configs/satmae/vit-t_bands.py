"""SatMAE with groups of channels, a tiny ViT on drawn pictures of ten bands and 32 pixels.

Command: python tools/train.py configs/satmae/vit-t_bands.py
Hardware: two CPU cores, about a minute. Results: docs/methods/satmae.md.
"""

_base_ = [
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/bands.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    data_preprocessor=dict(  # of the drawn bands
        mean=[1708, 1944, 2095, 2330, 2723, 2923, 3086, 3148, 2217, 1715],
        std=[2177, 2105, 2136, 2009, 1888, 1833, 1817, 1749, 1445, 1311],
    ),
    masker=dict(_delete_=True, type="StreamMasker", mask_ratio=0.75, across="together"),
    encoder=dict(
        type="StreamTransformer",
        stems=dict(
            bands=dict(
                type="GroupStem",
                groups=dict(visible=(0, 1, 2, 6), red_edge=(3, 4, 5, 7), short_wave=(8, 9)),
                img_size=32,
                patch_size=8,
                in_chans=10,
            )
        ),
        embed_dim=128,
        depth=4,
        num_heads=4,
        stream_code="concat",
        code_dim=32,
    ),
    decoder=dict(stream_code="concat", code_dim=24),
    target=dict(_delete_=True, type="StreamTarget", targets=dict(type="PixelTarget", norm_pix_loss=False)),
    head=dict(_delete_=True, type="StreamHead", head=dict(type="RegressionHead", loss="l2")),
)
train_cfg = dict(max_epochs=4)
