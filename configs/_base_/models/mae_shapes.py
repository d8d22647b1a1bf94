# MAE with the decoder of the drawn shapes.
_base_ = "mae.py"

model = dict(decoder=dict(embed_dim=96, depth=1, num_heads=4))
