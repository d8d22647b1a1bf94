"""MAGE without its generator, a tiny transformer on 8 x 8 ids of the colours of drawn shapes.

Command: python tools/train.py configs/mage/vit-t_shapes.py
Hardware: two CPU cores, about a minute. Results: docs/methods/mage.md.
"""

_base_ = [
    "../_base_/models/mage.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

_codes = [dict(type="ColourCodes", patch_size=4, levels=4)]  # 64 ids

model = dict(
    encoder=dict(stems=dict(codes=dict(codebook=64, grid=8)), embed_dim=128, depth=4, num_heads=4),
    decoder=dict(decoder=dict(embed_dim=96, depth=1, num_heads=4)),
)
train_dataloader = dict(dataset=dict(img_size=32, num_samples=8000, pipeline=_codes))
val_dataloader = dict(dataset=dict(img_size=32, pipeline=_codes))
val_cfg = dict(
    bank_dataloader=dict(dataset=dict(img_size=32, pipeline=_codes)),
    evaluators=dict(knn=dict(pixels=False)),  # codes are not pixels
)
train_cfg = dict(max_epochs=4)
