"""SiamMAE, ViT-S/16, 400 epochs on pairs of frames of 224 pixels, as CropMAE's authors train it.

Command: python tools/train.py configs/siammae/vit-s_400e.py
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: no published number of these 400 epochs that we know of.
Deviations from alexandre-eymael/CropMAE: those that all recipes share (docs/methods/README.md).
maetool reads no video files yet: replace the drawn clips by a dataset that gives clips (C, T, H, W).
"""

_base_ = [
    "../_base_/encoders/vit-s.py",
    "../_base_/models/cross_view.py",
    "../_base_/datasets/moving_shapes_pairs.py",
    "../_base_/schedules/cropmae.py",
    "../_base_/runtime/default.py",
]

_pipeline = [
    dict(type="RandomResizedCrop", scale=(0.5, 1.0)),
    dict(type="RandomHorizontalFlip", p=0.5),
    dict(type="TwoFrames", gap=(4, 47)),
]

model = dict(
    encoder=_base_.encoder,
    masker=dict(mask_ratio=0.95),
    view="future",
    context="past",
)
train_dataloader = dict(batch_size=128, dataset=dict(num_samples=240000, frames=48, cache=False, pipeline=_pipeline))
val_dataloader = dict(dataset=dict(frames=48, cache=False, pipeline=_pipeline))
