"""StoP (FlexPredict), a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/stop/vit-t_shapes.py
Hardware: two CPU cores, a few minutes. Results: docs/methods/stop.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/ijepa_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(encoder=_base_.encoder, decoder=dict(query_noise=0.25))
train_cfg = dict(max_epochs=8)  # half of it does not yet beat the untrained encoder
