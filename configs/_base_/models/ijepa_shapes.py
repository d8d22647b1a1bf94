# I-JEPA with the predictor of the drawn shapes; weights begin as MAE's, for so few steps.
_base_ = "ijepa.py"

model = dict(
    encoder=dict(init="mae"),
    decoder=dict(embed_dim=96, depth=2, num_heads=4, init="mae"),
)
