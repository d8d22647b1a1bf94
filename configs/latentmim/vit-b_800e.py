"""Latent MIM, ViT-B/16, 800 epochs on ImageNet-1K, patches of 16 pixels out of cells of 20.

Command: python tools/train.py configs/latentmim/vit-b_800e.py [--data FOLDER]
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: 50.1 % top-1 of the nearest neighbour, 72.0 % with a linear probe, 83.0 % fine-tuned on ImageNet-1K
    (yibingwei-1/LatentMIM); quoted, not run by us.
Deviations from yibingwei-1/LatentMIM: those that all recipes share (docs/methods/README.md); the EMA follows after
    each optimiser step instead of before the next forward pass.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/latentmim.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(encoder=dict(_base_.encoder, pos_embed="stretched", projection=(4096, 4096)))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="RandomResizedCrop", size=280, scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)),
            dict(type="RandomHorizontalFlip", p=0.5),
            dict(type="GappedPatches", patch_size=16),
        ],
    ),
)
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=40, min_lr=0.25 * 2.4e-3)]
