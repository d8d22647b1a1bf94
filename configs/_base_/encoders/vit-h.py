# ViT-H/14.
encoder = dict(
    type="VisionTransformer",
    img_size=224,
    patch_size=14,
    embed_dim=1280,
    depth=32,
    num_heads=16,
)
