# I-JEPA without its encoder, which is one of encoders/: model = dict(encoder=_base_.encoder).
model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    masker=dict(type="MultiBlockMasker"),
    encoder=dict(class_token=False, init="beit"),
    decoder=dict(type="PredictorDecoder", embed_dim=384, depth=12, num_heads=16, num_groups=4, init="beit"),
    target=dict(type="MomentumFeatureTarget", normalise="layer", momentum=0.996, schedule="linear"),
    head=dict(type="RegressionHead", loss="smooth_l1"),
)
