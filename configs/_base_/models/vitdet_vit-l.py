_base_ = "vitdet_vit-b.py"

model = dict(encoder=dict(embed_dim=1024, depth=24, num_heads=16, drop_path_rate=0.4, global_blocks=(5, 11, 17, 23)))
