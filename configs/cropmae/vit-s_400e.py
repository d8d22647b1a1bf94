"""CropMAE, ViT-S/16, 400 epochs on ImageNet-1K at 224 pixels; two patches of the local view stay visible.

Command: python tools/train.py configs/cropmae/vit-s_400e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 60.1 J&F on DAVIS, 33.2 mIoU on VIP, 43.5 PCK@0.1 on JHMDB by propagated labels (alexandre-eymael/CropMAE);
    quoted, not run by us. Pretrained on frames of Kinetics-400: 58.6, 33.7 and 42.9.
Deviations from alexandre-eymael/CropMAE: those that all recipes share (docs/methods/README.md); crops are bicubic.
"""

_base_ = [
    "../_base_/encoders/vit-s.py",
    "../_base_/models/cross_view.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/cropmae.py",
    "../_base_/runtime/default.py",
]

_views = dict(type="GlobalToLocalViews", global_scale=(0.1, 1.0), local_scale=(0.3, 0.6), flip=0.5)

model = dict(
    encoder=_base_.encoder,
    masker=dict(mask_ratio=0.985),
    view="local",
    context="global",
)
train_dataloader = dict(dataset=dict(pipeline=[_views]))
val_dataloader = dict(dataset=dict(pipeline=[_views]))
val_cfg = dict(evaluators=dict(knn=dict(dataloader=_base_.val_dataloader)))  # of images, not of views
