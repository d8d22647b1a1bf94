# CAE without its encoder, which is one of encoders/: model = dict(encoder=_base_.encoder); and without its tokens.
model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    masker=dict(type="BlockMasker", mask_ratio=0.5, attempts=120, patience=None),
    encoder=dict(pos_embed="sincos_rows", layer_scale=0.1, qkv_bias="qv"),
    decoder=dict(
        type="RegressorDecoder",
        depth=4,
        num_heads=12,
        layer_scale=0.1,
        pos_embed="sincos_rows",
        output=False,
    ),
    target=dict(type="MomentumFeatureTarget", normalise="none", momentum=0.0, schedule="constant", sees="predicted"),
    head=dict(type="RegressionHead", loss="l2"),
    weight=2.0,
    tasks=dict(
        codes=dict(
            reads="main",
            decoder=dict(
                type="RefiningDecoder",
                depth=4,
                num_heads=12,
                layer_scale=0.1,
                qkv_bias="qv",
                pos_embed="sincos_rows",
            ),
            head=dict(type="ClassificationHead"),
        )
    ),
)
