model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),
    masker=dict(type="RandomMasker", mask_ratio=0.75),
    encoder=dict(type="VisionTransformer", img_size=32, patch_size=4, embed_dim=128, depth=4, num_heads=4),
    decoder=dict(type="TransformerDecoder", embed_dim=96, depth=1, num_heads=4),
    target=dict(type="PixelTarget", norm_pix_loss=True),
    head=dict(type="RegressionHead", loss="l2"),
)
