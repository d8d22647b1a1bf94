"""Linear probe of ViT-B/16 on the pixels of ADE20K at 512 pixels, 40,000 steps; the encoder is frozen.

Command: python tools/train.py configs/segmentation/linear_vit-b_ade20k_40k.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 16 is accumulated. Hours: not measured by us at this size.
Expect: no published number for this recipe; not run by us.
One linear layer on the normalised last tokens, standardised over the batch: our choice.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/segmentation.py",
    "../_base_/runtime/segmentation.py",
]

model = dict(
    encoder=dict(_base_.encoder, img_size=512, drop_path_rate=0.0, layer_scale=None, final_norm=True),
    pyramid=None,
    decode_head=dict(_delete_=True, type="LinearMapHead"),
    auxiliary_head=None,
    frozen=True,
)
base_lr = 1.6e-2  # 1e-3 at the batch of 16
optim_wrapper = dict(constructor="DecayGroupsConstructor", paramwise_cfg=None)
train_cfg = dict(max_epochs=32)  # of 1,263 steps
