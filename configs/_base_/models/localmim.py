# Four small decoders on four layers of a ViT-B: lower ones predict finer histograms of gradients.
_base_ = "mae.py"

_decoder = dict(type="ScaledDecoder", embed_dim=256, depth=1, num_heads=8, shared_bias=True)
_head = dict(type="RegressionHead", loss="l2")

model = dict(
    decoder=dict(_delete_=True, **_decoder, layer=12, scale=0.5),
    target=dict(_delete_=True, type="HOGTarget", cell_size=32),
    tasks=dict(
        layer2=dict(decoder=dict(**_decoder, layer=2, scale=4), target=dict(type="HOGTarget", cell_size=4), head=_head),
        layer4=dict(decoder=dict(**_decoder, layer=4, scale=2), target=dict(type="HOGTarget", cell_size=8), head=_head),
        layer10=dict(
            decoder=dict(**_decoder, layer=10, scale=1), target=dict(type="HOGTarget", cell_size=16), head=_head
        ),
    ),
)
