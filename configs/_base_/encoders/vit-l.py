# ViT-L/16.
encoder = dict(
    type="VisionTransformer",
    img_size=224,
    patch_size=16,
    embed_dim=1024,
    depth=24,
    num_heads=16,
)
