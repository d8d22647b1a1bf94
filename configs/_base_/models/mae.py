# MAE without its encoder, which is one of encoders/: model = dict(encoder=_base_.encoder).
model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    masker=dict(type="RandomMasker", mask_ratio=0.75),
    decoder=dict(type="TransformerDecoder", embed_dim=512, depth=8, num_heads=16),
    target=dict(type="PixelTarget", norm_pix_loss=True),
    head=dict(type="RegressionHead", loss="l2"),
)
