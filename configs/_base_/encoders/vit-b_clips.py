# ViT-B of clips, in tubes of two frames and 16x16 pixels, as in VideoMAE.
encoder = dict(
    type="VisionTransformer",
    img_size=(16, 224, 224),
    patch_size=(2, 16, 16),
    embed_dim=768,
    depth=12,
    num_heads=12,
    pos_embed="flat",
    class_token=False,
    qkv_bias="qv",
)
