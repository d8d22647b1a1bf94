model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    masker=dict(type="AlignedMasker", mask_ratio=0.6, unit=8),  # units of 32 pixels
    encoder=dict(
        type="SwinTransformer",
        img_size=192,
        patch_size=4,
        embed_dim=128,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        window_size=6,
    ),
    decoder=dict(type="LinearDecoder"),
    target=dict(type="PixelTarget", norm_pix_loss=False),
    head=dict(type="RegressionHead", loss="l1"),
)
