"""MAE with 90 % removed, a tiny ViT on grey drawn shapes of 48 pixels, which are in the place of X-rays.

Command: python tools/train.py configs/thorax/vit-t_shapes.py
Hardware: two CPU cores, a few minutes. As measured: docs/methods/thorax.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/mae_shapes.py",
    "../_base_/datasets/grey_shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=dict(_base_.encoder, img_size=48),  # of 64 patches 6 would stay visible, of 144 14
    masker=dict(mask_ratio=0.9),
    target=dict(norm_pix_loss=False),
)
val_cfg = dict(evaluators=dict(probe=dict(type="LinearProbeEvaluator", optional=True)))
train_cfg = dict(max_epochs=4)
