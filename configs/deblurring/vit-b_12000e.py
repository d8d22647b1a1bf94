"""Deblurring MAE, ViT-B/16, 12,000 epochs on ultrasound images at 224 pixels.

Command: python tools/train.py configs/deblurring/vit-b_12000e.py --data FOLDER
Hardware: any; the effective batch of 256 is accumulated. Hours: not measured by us.
Expect: no number of ViT-B is published; see docs/methods/deblurring.md.
Deviations from openmedlab/DeblurringMIM: those that all recipes share (docs/methods/README.md); the crop is blurred
    instead of the stored image.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=_base_.encoder,
    corruption=dict(type="BlurCorruption", sigma=(1.1, 1.1)),
    target=dict(norm_pix_loss=False),
    at="all",
)
train_dataloader = dict(batch_size=32, dataset=dict(root="data/ultrasound/train"))
val_dataloader = dict(dataset=dict(root="data/ultrasound/val"))
val_cfg = dict(bank_dataloader=dict(dataset=dict(root="data/ultrasound/train")))
effective_batch_size = 256
train_cfg = dict(max_epochs=12000)
