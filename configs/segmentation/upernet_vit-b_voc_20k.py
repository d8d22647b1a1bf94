"""UPerNet on ViT-B/16, Pascal VOC 2012 at 512 pixels, 20,000 steps.

Command: python tools/train.py configs/segmentation/upernet_vit-b_voc_20k.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 16 is accumulated. Hours: not measured by us at this size.
Expect: no published number for this recipe; not run by us.
The recipe is that of upernet_vit-b_ade20k_160k.py with fewer steps, on the 1,464 images of `train`: our choice.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/upernet.py",
    "../_base_/datasets/voc.py",
    "../_base_/schedules/segmentation.py",
    "../_base_/runtime/segmentation.py",
]

model = dict(encoder=dict(_base_.encoder, img_size=512), num_classes=21)
train_cfg = dict(max_epochs=220)  # of 91 steps
