"""Latent MIM, a tiny ViT on drawn shapes of 40 pixels, of whose cells of 5 pixels patches of 4 are cut.

Command: python tools/train.py configs/latentmim/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/latentmim.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/latentmim.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    encoder=dict(_base_.encoder, pos_embed="stretched", projection=(256, 256)),
    masker=dict(mask_ratio=0.75),
    decoder=dict(embed_dim=96, depth=2, num_heads=4),
)
train_dataloader = dict(dataset=dict(img_size=40, pipeline=[dict(type="GappedPatches", patch_size=4)]))
