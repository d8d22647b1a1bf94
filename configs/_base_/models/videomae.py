# VideoMAE without its encoder, which is one of encoders/: model = dict(encoder=_base_.encoder).
model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    masker=dict(type="TubeMasker", mask_ratio=0.9),
    decoder=dict(
        type="PredictorDecoder",
        embed_dim=384,
        depth=4,
        num_heads=6,
        pos_embed="flat",
        embed_bias=False,
        qkv_bias="qv",
    ),
    target=dict(type="PictureTarget", norm_pix_loss="channel"),
    head=dict(type="RegressionHead", loss="l2"),
)
