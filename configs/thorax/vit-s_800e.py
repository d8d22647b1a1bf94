"""MAE of chest X-rays with 90 % removed and gentle crops, ViT-S/16, 800 epochs at 224 pixels.

Command: python tools/train.py configs/thorax/vit-s_800e.py --data FOLDER
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: a mean AUC of 82.3 % fine-tuned on ChestX-ray14 (lambert-x/medical_mae); quoted, not run by us.
Deviations from lambert-x/medical_mae: those that all recipes share (docs/methods/README.md).
ViT-B, whose decoder has 8 blocks: --cfg-options model.encoder.embed_dim=768 model.encoder.num_heads=12
    model.decoder.depth=8
"""

_base_ = [
    "../_base_/encoders/vit-s.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=_base_.encoder,
    masker=dict(mask_ratio=0.9),
    decoder=dict(depth=2),
    target=dict(norm_pix_loss=False),
)
train_dataloader = dict(
    dataset=dict(
        root="data/xrays/train",
        pipeline=[
            dict(type="RandomResizedCrop", scale=(0.5, 1.0), ratio=(3 / 4, 4 / 3)),
            dict(type="RandomHorizontalFlip", p=0.5),
        ],
    )
)
val_dataloader = dict(dataset=dict(root="data/xrays/val"))
val_cfg = dict(bank_dataloader=dict(dataset=dict(root="data/xrays/train")))
effective_batch_size = 2048
