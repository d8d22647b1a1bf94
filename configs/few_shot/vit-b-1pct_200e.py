"""Fine-tuning with 1 % of the labels, ViT-B/16, 200 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/few_shot/vit-b-1pct_200e.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 256 is accumulated. Hours: not measured by us at this size.
Expect: no published number for this recipe; not run by us. The published semi-supervised splits are other images.
The recipe is that of configs/finetune, with as many epochs as our choice of steps needs.
"""

_base_ = [
    "../_base_/models/classifier_vit-b.py",
    "../_base_/datasets/imagenet_finetune.py",
    "../_base_/schedules/finetune.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=dict(drop_path_rate=0.1),
    pooling="avg",
    own_norm=True,
    head_std=2e-5,
    label_smoothing=0.1,
    data_preprocessor=dict(type="AugmentingPreprocessor", mixup_alpha=0.8, cutmix_alpha=1.0, erase_prob=0.25),
)
train_dataloader = dict(dataset=dict(labels_fraction=0.01))
effective_batch_size = 256  # so that few images make enough steps
train_cfg = dict(max_epochs=200, val_interval=20)
