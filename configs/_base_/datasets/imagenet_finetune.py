# Folders of classes: --data FOLDER, with train/ and val/ inside.
_loader = dict(num_workers="auto", persistent_workers=True)  # cores / processes

train_dataloader = dict(
    # Changes no result:
    **_loader,
    prefetch_factor=4,
    # Changes results:
    batch_size=128,  # per process; accumulation follows from effective_batch_size
    drop_last=True,
    dataset=dict(
        type="ImageFolderDataset",
        root="data/imagenet/train",
        with_labels=True,
        pipeline=[
            dict(type="RandomResizedCrop", scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)),
            dict(type="RandomHorizontalFlip", p=0.5),
            dict(type="RandAugment", policy="rand-m9-mstd0.5-inc1"),
        ],
    ),
)
val_dataloader = dict(
    **_loader,
    batch_size=128,
    dataset=dict(
        type="ImageFolderDataset",
        root="data/imagenet/val",
        with_labels=True,
        pipeline=[dict(type="ResizeCenterCrop", resize_ratio=256 / 224)],
    ),
)
val_cfg = dict(type="ValLoop", evaluators=dict(classes=dict(type="ClassificationEvaluator")))
