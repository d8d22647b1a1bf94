# The tiny ViT of the drawn clips: 2 x 6 x 6 tubes.
encoder = dict(
    type="VisionTransformer",
    img_size=(4, 24, 24),
    patch_size=(2, 4, 4),
    embed_dim=128,
    depth=4,
    num_heads=4,
    pos_embed="flat",
    class_token=False,
    qkv_bias="qv",
)
