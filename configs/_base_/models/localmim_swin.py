# Four small decoders on what enters the later stages of a Swin-B and on what leaves it: each predicts its own tokens.
_base_ = "mae.py"

_decoder = dict(type="ScaledDecoder", embed_dim=128, depth=1, num_heads=4)
_target = dict(type="HOGTarget", nbins=18)
_head = dict(type="RegressionHead", loss="l2")

model = dict(
    decoder=dict(_delete_=True, **_decoder, layer=4),
    target=dict(_delete_=True, **_target, cell_size=32),
    tasks=dict(
        stage1=dict(
            decoder=dict(type="ScaledDecoder", embed_dim=64, depth=1, num_heads=4, layer=1),
            target=dict(**_target, cell_size=8),
            head=_head,
        ),
        stage2=dict(decoder=dict(**_decoder, layer=2), target=dict(**_target, cell_size=16), head=_head),
        stage3=dict(decoder=dict(**_decoder, layer=3), target=dict(**_target, cell_size=32), head=_head),
    ),
)
