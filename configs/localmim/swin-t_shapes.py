"""LocalMIM, a tiny Swin of three stages on drawn shapes of 32 pixels; histograms of gradients in cells of 4 and 8.

Command: python tools/train.py configs/localmim/swin-t_shapes.py
Hardware: two CPU cores, a few minutes. Measured with the other variants in docs/methods/README.md.
"""

_base_ = [
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

_decoder = dict(type="ScaledDecoder", embed_dim=64, depth=1, num_heads=4)
_head = dict(type="RegressionHead", loss="l2")

model = dict(
    encoder=dict(
        type="SwinTransformer",
        img_size=32,
        patch_size=2,
        embed_dim=32,
        depths=[1, 1, 3],
        num_heads=[1, 2, 4],
        window_size=4,
        sees="visible",
    ),
    decoder=dict(_delete_=True, **_decoder, layer=3),
    target=dict(_delete_=True, type="HOGTarget", cell_size=8),
    tasks=dict(
        stage1=dict(decoder=dict(**_decoder, layer=1), target=dict(type="HOGTarget", cell_size=4), head=_head),
        stage2=dict(decoder=dict(**_decoder, layer=2), target=dict(type="HOGTarget", cell_size=8), head=_head),
    ),
)
