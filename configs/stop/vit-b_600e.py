"""StoP (FlexPredict), ViT-B/16, 600 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/stop/vit-b_600e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 1.6 points more than I-JEPA by a linear probe (abstract of Bar et al.); quoted, not run by us.
Deviations from amirbar/StoP: torchvision's Gaussian blur instead of Pillow's approximation of it, with I-JEPA's range;
    and those of configs/ijepa/vit-h_300e.py.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/ijepa.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/ijepa.py",
    "../_base_/runtime/no_pictures.py",
]

_blur = dict(type="torchvision.transforms.v2.GaussianBlur", kernel_size=23, sigma=(0.1, 2.0))

model = dict(
    encoder=_base_.encoder,
    decoder=dict(depth=6, num_heads=12, query_noise=0.25),
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="RandomResizedCrop", scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3)),
            dict(type="RandomHorizontalFlip", p=0.5),
            dict(type="torchvision.transforms.v2.RandomGrayscale", p=0.2),
            dict(type="torchvision.transforms.v2.RandomApply", p=0.5, transforms=[_blur]),
        ]
    )
)
base_lr = 1e-4  # 8e-4 at the batch of 2048
param_scheduler = [
    dict(type="WarmupCosineLR", warmup_epochs=15, start_lr=2e-4, min_lr=1e-4),
    _base_.param_scheduler[1],
]
train_cfg = dict(max_epochs=600)
