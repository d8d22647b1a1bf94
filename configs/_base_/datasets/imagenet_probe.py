# Fine-tuning's data with the weak augmentation of probes.
_base_ = "imagenet_finetune.py"

train_dataloader = dict(
    batch_size=512,
    dataset=dict(
        pipeline=[
            dict(type="SingleDrawCrop", scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)),
            dict(type="RandomHorizontalFlip", p=0.5),
        ],
    ),
)
