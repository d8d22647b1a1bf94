"""SiamMAE, a tiny ViT on pairs of frames of drawn clips of 32 pixels; three of 64 patches of the future stay visible.

Command: python tools/train.py configs/siammae/vit-t_moving_shapes.py
Hardware: two CPU cores, about a minute. Results: docs/methods/cropmae.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/cross_view.py",
    "../_base_/datasets/moving_shapes_pairs.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=_base_.encoder,
    masker=dict(mask_ratio=0.95),
    decoder=dict(embed_dim=96, depth=1, num_heads=4, hidden_dim=384, dropout=0.0),
    view="future",
    context="past",
)
train_cfg = dict(max_epochs=4)
