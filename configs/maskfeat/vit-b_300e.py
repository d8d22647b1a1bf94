"""MaskFeat, ViT-B/16, 300 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/maskfeat/vit-b_300e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 83.4 % top-1 fine-tuned (mmpretrain) on ImageNet-1K; quoted, not run by us.
Deviations from facebookresearch/SlowFast: those that all recipes share (docs/methods/README.md); MAE's initialisation
    instead of a truncated normal one; the warm-up starts at 0 instead of 1e-6; masks of exactly 78 patches, where the
    published ones may hold fewer. `gaussian_window` is 0 as in SlowFast; mmpretrain, whose number is quoted, uses 16.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/mask_tokens.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    encoder=_base_.encoder,
    masker=dict(mask_ratio=78 / 196, min_patches=15),
    target=dict(type="HOGTarget", nbins=9, cell_size=8),
    head=dict(type="RegressionHead", loss="l2"),
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="RandomResizedCrop", scale=(0.5, 1.0), ratio=(3 / 4, 4 / 3)),
            dict(type="RandomHorizontalFlip", p=0.5),
        ],
    ),
)
base_lr = 2e-4
effective_batch_size = 2048
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999)), clip_grad=dict(max_norm=0.02))
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=30, min_lr=1e-6)]
train_cfg = dict(max_epochs=300)
