# I-JEPA with the predictor of the drawn shapes; smaller targets, because their grid is 8 x 8.
_base_ = "ijepa.py"

model = dict(decoder=dict(embed_dim=96, depth=2, num_heads=4))
