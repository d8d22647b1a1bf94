# Mask tokens and a linear map for the drawn shapes.
_base_ = "mae_shapes.py"

model = dict(
    masker=dict(_delete_=True, type="BlockMasker", mask_ratio=0.4, min_patches=5),
    encoder=dict(sees="all"),
    decoder=dict(_delete_=True, type="LinearDecoder"),
)
