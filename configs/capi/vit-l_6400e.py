"""CAPI, ViT-L/14 with registers, 6,400 epochs (500,000 steps of 16,384 images) on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/capi/vit-l_6400e.py [--data FOLDER]
Hardware: as published, 32 GPUs. Give each process as many images as fit, 512 as published
    (--cfg-options train_dataloader.batch_size=512): the assignments use the clusters equally over the images of one
    pass of all processes. Hours: not measured by us.
Expect: 82.9 % top-1 with an attentive probe on ImageNet-1K, 29.2 mIoU with kNN on ADE20K; quoted, not run by us.
Deviations from facebookresearch/capi: those that all recipes share (docs/methods/README.md); the teacher's momentum
    rises from 0.999 to 1 from the first step on; queries, keys and values begin as one map each; where gradients are
    accumulated, the clusters see the images of one pass at a time.
"""

_base_ = [
    "../_base_/encoders/vit-l.py",
    "../_base_/models/capi.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/capi.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    encoder=dict(_base_.encoder, **_base_.capi_encoder, patch_size=14, drop_path_rate=(0.2, 0.2)),
    decoder=dict(embed_dim=1024, depth=12, num_heads=16, drop_path_rate=(0.2, 0.2)),
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="RandomResizedCrop", scale=(0.6, 1.0), ratio=(3 / 4, 4 / 3)),
            dict(type="RandomHorizontalFlip", p=0.5),
        ],
    ),
)
