"""Linear probe of the tiny ViT on the objects of 3,200 drawn shapes; the encoder is frozen.

Command: python tools/train.py configs/segmentation/linear_vit-t_shapes.py --init CHECKPOINT
Hardware: two CPU cores.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/upernet_shapes.py",
    "../_base_/datasets/shapes_segmentation.py",
    "../_base_/schedules/segmentation_shapes.py",
    "../_base_/runtime/segmentation.py",
]

model = dict(
    encoder=dict(_base_.encoder, final_norm=True),
    pyramid=None,
    decode_head=dict(_delete_=True, type="LinearMapHead"),
    auxiliary_head=None,
    frozen=True,
)
base_lr = 0.32  # 1e-2 at the batch of 8
optim_wrapper = dict(constructor="DecayGroupsConstructor", paramwise_cfg=None)
