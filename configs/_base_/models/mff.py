# MAE whose decoder reads six layers of a ViT-B.
_base_ = "mae.py"

model = dict(
    decoder=dict(
        _delete_=True,
        type="LayerFusionDecoder",
        layers=[1, 3, 5, 7, 9, 12],  # what leaves these blocks; the implementations count from 0
        decoder=dict(type="TransformerDecoder", embed_dim=512, depth=8, num_heads=16),
    )
)
