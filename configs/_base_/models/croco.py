# CroCo: nine tenths of one view of a scene, completed from the other view.
_base_ = "mae.py"

croco_encoder = dict(class_token=False)

model = dict(
    masker=dict(mask_ratio=0.8975),  # 176 of 196 patches
    decoder=dict(
        _delete_=True,
        type="CrossViewDecoder",
        steps=("self", "cross", "mlp"),
        memory_norm=True,
        memory_positions=True,
        embed_dim=512,
        depth=8,
        num_heads=16,
    ),
    view="first",
    context="second",
)
