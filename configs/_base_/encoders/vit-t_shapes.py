# The tiny ViT of the drawn shapes.
encoder = dict(
    type="VisionTransformer",
    img_size=32,
    patch_size=4,
    embed_dim=128,
    depth=4,
    num_heads=4,
)
