# VideoMAE with the decoder of the drawn clips; 9 of the 36 tubes of a slice stay visible.
_base_ = "videomae.py"

model = dict(masker=dict(mask_ratio=0.75), decoder=dict(embed_dim=96, depth=1, num_heads=4))
