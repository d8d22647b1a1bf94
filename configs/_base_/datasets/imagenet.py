# Any folder of images works: --data FOLDER, or --cfg-options train_dataloader.dataset.root=FOLDER.
_eval = dict(
    batch_size=128,
    num_workers="auto",
    persistent_workers=True,
)

train_dataloader = dict(
    # Changes no result:
    num_workers="auto",  # cores / processes
    persistent_workers=True,
    prefetch_factor=4,
    # Changes results:
    batch_size=128,  # per process; accumulation follows from effective_batch_size
    drop_last=True,
    dataset=dict(
        type="ImageFolderDataset",
        root="data/imagenet/train",
        pipeline=[
            dict(type="RandomResizedCrop", scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)),
            dict(type="RandomHorizontalFlip", p=0.5),
        ],
    ),
)
val_dataloader = dict(
    **_eval,
    dataset=dict(
        type="ImageFolderDataset",
        root="data/imagenet/val",
        with_labels=True,
        limit=10000,
        pipeline=[dict(type="ResizeCenterCrop", resize_ratio=256 / 224)],
    ),
)
val_cfg = dict(
    type="ValLoop",
    bank_dataloader=dict(
        **_eval,
        dataset=dict(
            type="ImageFolderDataset",
            root="data/imagenet/train",
            with_labels=True,
            limit=50000,
            pipeline=[dict(type="ResizeCenterCrop", resize_ratio=256 / 224)],
        ),
    ),
    evaluators=dict(
        loss=dict(type="LossEvaluator"),
        knn=dict(type="KnnEvaluator", pixels=True, optional=True),  # if the images have labels
    ),
)
