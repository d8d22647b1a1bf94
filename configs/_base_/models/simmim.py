# SimMIM: masks in units of 32 pixels, a linear map, pixels as they are.
model = dict(
    type="MaskedImageModel",
    data_preprocessor=dict(type="ImagePreprocessor"),  # ImageNet mean and standard deviation
    masker=dict(type="AlignedMasker", mask_ratio=0.6),  # its `unit`, in patches, is the leaf's
    decoder=dict(type="LinearDecoder"),
    target=dict(type="PixelTarget", norm_pix_loss=False),
    head=dict(type="RegressionHead", loss="l1"),
)
