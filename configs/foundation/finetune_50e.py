"""Fine-tuning of a plain ViT of timm, by default DINOv2's ViT-S/14 with registers, 50 epochs at 224 pixels.

Command: python tools/train.py configs/foundation/finetune_50e.py --init timm:vit_small_patch14_reg4_dinov2; for
    others model.encoder.name, the mean and deviation that --init names, and final_norm=False if it says so
Hardware: any; the effective batch of 1024 is accumulated. Hours: not measured by us at this size.
Expect: no published number at this recipe, which is MAE's fine-tuning, shorter; not run by us.
"""

_base_ = [
    "../_base_/models/finetune.py",
    "../_base_/datasets/imagenet_finetune.py",
    "../_base_/schedules/finetune.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=dict(
        _delete_=True,
        type="TimmEncoder",
        name="vit_small_patch14_reg4_dinov2",
        img_size=224,
        drop_path_rate=0.1,
    ),
)
train_cfg = dict(max_epochs=50)
