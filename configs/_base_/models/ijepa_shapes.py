# I-JEPA for the few steps of the drawn shapes: a small predictor, the weights of MAE, an average that moves faster.
_base_ = "ijepa.py"

model = dict(
    encoder=dict(init="mae"),
    decoder=dict(embed_dim=96, depth=2, num_heads=4, init="mae"),
    target=dict(momentum=0.98),
)
