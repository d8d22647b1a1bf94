"""Fine-tuning on chest X-rays with several findings each, ViT-S/16, 75 epochs at 224 pixels.

Command: python tools/train.py configs/thorax/finetune_vit-s_75e.py --init CHECKPOINT --data TABLE, a table of paths and
    one column of 0 and 1 for each finding
Hardware: any; the effective batch of 1024 is accumulated. Hours: not measured by us.
Expect: a mean AUC of 82.3 % on ChestX-ray14 after configs/thorax/vit-s_800e (lambert-x/medical_mae); quoted, not run.
Deviations from lambert-x/medical_mae: those that all recipes share (docs/methods/README.md); binary cross-entropy on
    CheXpert too, where it has a loss on the AUC.
"""

_base_ = [
    "../_base_/encoders/vit-s.py",
    "../_base_/models/finetune.py",
    "../_base_/datasets/imagenet_finetune.py",
    "../_base_/schedules/finetune.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=dict(_base_.encoder, drop_path_rate=0.2),
    label_smoothing=0.0,
    data_preprocessor=dict(mixup_alpha=0.0, cutmix_alpha=0.0, erase_prob=0.0),
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="RandomResizedCrop", scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)),
            dict(type="RandomHorizontalFlip", p=0.5),
            dict(type="RandAugment", policy="rand-m6-mstd0.5-inc1"),
        ]
    )
)
base_lr = 2.5e-4  # per 256 images
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.55))
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=5, min_lr=1e-5)]
train_cfg = dict(max_epochs=75)
