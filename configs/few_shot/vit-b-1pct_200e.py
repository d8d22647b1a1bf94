"""Fine-tuning with 1 % of the labels, ViT-B/16, 200 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/few_shot/vit-b-1pct_200e.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 256 is accumulated. Hours: not measured by us at this size.
Expect: no published number for this recipe; not run by us. The published semi-supervised splits have other images.
The recipe is that of configs/finetune, with as many epochs as our choice of steps needs.
"""

_base_ = "../finetune/vit-b_100e.py"

train_dataloader = dict(dataset=dict(labels_fraction=0.01))
effective_batch_size = 256  # so that few images make enough steps
train_cfg = dict(max_epochs=200, val_interval=20)
