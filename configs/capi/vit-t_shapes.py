"""CAPI, a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/capi/vit-t_shapes.py
Hardware: two CPU cores. As measured: docs/methods/capi.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/capi.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    encoder=dict(_base_.encoder, **_base_.capi_encoder),
    masker=dict(predict_ratio=0.3),
    decoder=dict(embed_dim=96, depth=2, num_heads=4),
    teacher=dict(momentum=0.99),
    target=dict(clusters=64),
)
optim_wrapper = dict(
    _delete_=True,
    type="AutocastOptimWrapper",
    dtype="float32",
    constructor="OptimizersByPartConstructor",
    main=dict(optimizer=dict(type="AdamW", betas=(0.9, 0.95), weight_decay=0.1, fused=True)),
    clusters=dict(
        parts="target", optimizer=dict(type="AdamW", betas=(0.9, 0.95), lr=1e-3, weight_decay=0.0, fused=True)
    ),
)
param_scheduler = dict(_delete_=True, main=_base_.param_scheduler, clusters=_base_.param_scheduler)
