"""UPerNet on ViT-B/16, Cityscapes at 768 pixels, 80,000 steps.

Command: python tools/train.py configs/segmentation/upernet_vit-b_cityscapes_80k.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 8 is accumulated. Hours: not measured by us at this size.
Expect: no published number for this recipe; not run by us.
The recipe is that of upernet_vit-b_ade20k_160k.py with larger crops, half the batch and half the steps: our choice.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/upernet.py",
    "../_base_/datasets/cityscapes.py",
    "../_base_/schedules/segmentation.py",
    "../_base_/runtime/segmentation.py",
]

model = dict(num_classes=19, encoder=dict(_base_.encoder, img_size=768), stride=512)
effective_batch_size = 8
base_lr = 3.2e-3  # 1e-4 at the batch of 8
train_cfg = dict(max_epochs=216)  # of 371 steps
