# Block-wise masks of 75 patches and a linear map, for an encoder with mask tokens such as encoders/beit-b.py.
_base_ = "simmim.py"

model = dict(
    masker=dict(_delete_=True, type="BlockMasker", mask_ratio=75 / 196, min_patches=16),
    encoder=dict(drop_path_rate=0.0),
)
