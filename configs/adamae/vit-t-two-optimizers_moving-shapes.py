"""AdaMAE, tiny, whose masker has an optimiser and a schedule of its own.

Command: python tools/train.py configs/adamae/vit-t-two-optimizers_moving-shapes.py
Hardware: two CPU cores. Results: docs/methods/adamae.md.
"""

_base_ = ["vit-t_moving-shapes.py"]

# masker_weight now only scales what the masker's loss teaches the encoder's embedding: AdamW's steps ignore it.
optim_wrapper = dict(
    _delete_=True,
    type="AutocastOptimWrapper",
    dtype="float32",
    constructor="OptimizersByPartConstructor",
    main=dict(optimizer=dict(type="AdamW", betas=(0.9, 0.95), weight_decay=0.05, fused=True)),
    masker=dict(
        parts="masker",
        optimizer=dict(type="AdamW", lr=1e-4, weight_decay=0.0, fused=True),
        clip_grad=dict(max_norm=1.0),
    ),
)
param_scheduler = dict(_delete_=True, main=_base_.param_scheduler, masker=[])
