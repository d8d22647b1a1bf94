"""dBOT, first stage with a teacher of random weights: a tiny ViT on drawn shapes of 32 pixels.

Command: python tools/train.py configs/dbot/vit-t_shapes.py, and for the second stage the same with --work-dir DIR
    --cfg-options model.target.checkpoint=work_dirs/dbot_vit-t_shapes/epoch_10.pth; both stages:
    tools/train_stages.sh 2 configs/dbot/vit-t_shapes.py WORK_DIR
Hardware: two CPU cores. Results: docs/methods/README.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    encoder=_base_.encoder,
    decoder=dict(predict_prefix=True),
    target=dict(
        _delete_=True,
        type="FeatureTarget",
        teacher=_base_.encoder,
        layers=[-1],
        predict_prefix=True,
    ),
    head=dict(loss="smooth_l1", beta=2.0),
)
