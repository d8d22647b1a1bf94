# The tiny encoder with mask tokens in the place of removed patches, and a linear map as decoder.
_base_ = "mae_vit-t_shapes.py"

model = dict(
    masker=dict(_delete_=True, type="BlockMasker", mask_ratio=0.4, min_patches=5),
    encoder=dict(sees="all"),
    decoder=dict(_delete_=True, type="LinearDecoder"),
)
