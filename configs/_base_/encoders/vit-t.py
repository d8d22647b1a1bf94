# ViT-Ti/16.
encoder = dict(
    type="VisionTransformer",
    img_size=224,
    patch_size=16,
    embed_dim=192,
    depth=12,
    num_heads=3,
)
