_base_ = "upernet_vit-b.py"

model = dict(
    encoder=dict(embed_dim=1024, depth=24, num_heads=16, drop_path_rate=0.2),
    pyramid=dict(layers=[8, 12, 16, 24]),
    decode_head=dict(width=1024),
)
