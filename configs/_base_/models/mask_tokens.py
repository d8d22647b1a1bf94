# Mask tokens in the place of removed patches, as in BEiT and MaskFeat, and a linear map as decoder.
model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    masker=dict(type="BlockMasker", mask_ratio=0.4),
    encoder=dict(pos_embed="learned", sees="all"),
    decoder=dict(type="LinearDecoder"),
)
