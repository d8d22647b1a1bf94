# MaskAlign without encoder, teacher and layers: visible patches are aligned with a teacher's layers, none is rebuilt.
model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    masker=dict(type="AttentionMasker", ratios=(0.7, 0.7), unmasked=0.0, choose="draw", round_up=True),
    decoder=dict(type="AlignmentDecoder", predict_prefix=True),
    target=dict(type="TeacherFeatureTarget", normalise="layer", combine="concatenate", predict_prefix=True),
    head=dict(type="PartsHead", loss="smooth_l1"),
    at="visible",
)
