"""MAE continued from a plain ViT of timm, by default DINOv2's ViT-S/14 with registers, 100 epochs at 224 pixels.

Command: python tools/train.py configs/foundation/mae_100e.py --init timm:vit_small_patch14_reg4_dinov2 --data FOLDER;
    for others model.encoder.name, the mean and deviation that --init names, and final_norm=False if it says so
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us at this size.
Expect: no published number; meant for pictures unlike those of the first training. Compare with the encoder as it was.
Deviations from facebookresearch/mae: trained weights at first, half the rate and a short warm-up; those that all
    recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=dict(type="TimmEncoder", name="vit_small_patch14_reg4_dinov2", img_size=224))
base_lr = 7.5e-5
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=5, min_lr=0.0)]
train_cfg = dict(max_epochs=100)
