"""CAE with the tokens of a random codebook of HOG, a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/cae/vit-t_shapes.py
Hardware: two CPU cores, a few minutes. Results: docs/methods/cae.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/cae.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    encoder=_base_.encoder,
    masker=dict(min_patches=5),
    decoder=dict(depth=1, num_heads=4),
    tasks=dict(
        codes=dict(
            decoder=dict(depth=1, num_heads=4),
            target=dict(type="TokenTarget", codebook=256, source=dict(type="HOGTarget")),
        )
    ),
)
train_cfg = dict(max_epochs=2)
