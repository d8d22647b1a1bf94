# Three small decoders on three layers of the tiny ViT.
_base_ = "mae_shapes.py"

_decoder = dict(type="ScaledDecoder", embed_dim=64, depth=1, num_heads=4, shared_bias=True)
_head = dict(type="RegressionHead", loss="l2")

model = dict(
    decoder=dict(_delete_=True, **_decoder, layer=4, scale=0.5),
    target=dict(_delete_=True, type="HOGTarget", cell_size=8),
    tasks=dict(
        layer1=dict(decoder=dict(**_decoder, layer=1, scale=2), target=dict(type="HOGTarget", cell_size=2), head=_head),
        layer3=dict(decoder=dict(**_decoder, layer=3, scale=1), target=dict(type="HOGTarget", cell_size=4), head=_head),
    ),
)
