# A masked view that attends to the tokens of another view of the same sample: CropMAE and SiamMAE.
_base_ = "mae.py"

model = dict(
    decoder=dict(
        _delete_=True,
        type="CrossViewDecoder",
        steps=("cross", "mlp", "self"),
        post_norm=True,
        embed_dim=256,
        depth=4,
        num_heads=8,
        hidden_dim=2048,  # for every width, as published
        dropout=0.1,
    ),
)
