"""ViTDet with Mask R-CNN, ViT-B/16, for a few hundred to a few thousand images of your own, 50 epochs at 512 pixels.

Command: python tools/train.py configs/detection/vitdet_mask-rcnn_vit-b_own_50e.py --init CHECKPOINT [--data FOLDER]
Hardware: one device; the batch of 8 is accumulated from 1 image a process. Hours: not measured by us at this size.
Expect: no published number; compare with a run without --init.
Deviations from vitdet_mask-rcnn_vit-b_coco_100e.py: 512 pixels, a batch of 8, a rate for it that does not fall in
    proportion, and less jitter (0.5 to 2), because small sets of images have few steps and few scales. Number and names
    of the classes are those of --data."""

_base_ = [
    "../_base_/encoders/vitdet-b.py",
    "../_base_/models/vitdet.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/vitdet.py",
    "../_base_/runtime/objects.py",
]

model = dict(encoder=dict(_base_.encoder, img_size=512))
base_lr = 3.2e-3  # 1e-4 at the batch of 8
effective_batch_size = 8
train_dataloader = dict(
    dataset=dict(pipeline=[dict(type="FlipObjects", p=0.5), dict(type="LargeScaleJitter", scale=(0.5, 2.0))])
)
param_scheduler = [dict(type="WarmupStepLR", warmup_epochs=1, milestones=(8 / 9, 26 / 27), gamma=0.1)]
train_cfg = dict(max_epochs=50, val_interval=5)
