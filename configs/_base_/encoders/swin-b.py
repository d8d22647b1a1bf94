# Swin-B as SimMIM pretrains it: 192 pixels, windows of 6.
encoder = dict(
    type="SwinTransformer",
    img_size=192,
    patch_size=4,
    embed_dim=128,
    depths=[2, 2, 18, 2],
    num_heads=[4, 8, 16, 32],
    window_size=6,
)
