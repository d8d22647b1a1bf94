"""Fine-tuning with 10 % of the labels, ViT-B/16, 100 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/few_shot/vit-b-10pct_100e.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 1024 is accumulated. Hours: not measured by us at this size.
Expect: no published number for this recipe; not run by us. The published semi-supervised splits have other images.
The recipe is that of configs/finetune, with as many epochs as our choice of steps needs.
"""

_base_ = "../finetune/vit-b_100e.py"

train_dataloader = dict(dataset=dict(labels_fraction=0.1))
