# ViT-B with mask tokens, relative positions and layer scale as in SimMIM, and block-wise masks of 75 patches.
_base_ = "simmim_vit-b.py"

model = dict(
    masker=dict(_delete_=True, type="BlockMasker", mask_ratio=75 / 196, min_patches=16),
    encoder=dict(drop_path_rate=0.0),
)
