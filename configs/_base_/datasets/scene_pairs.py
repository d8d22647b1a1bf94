# Pairs of pictures of a scene, NAME_1.jpeg and NAME_2.jpeg in one folder: source.sources.0.root says which.
_source = dict(type="PairedSource", channels=[3, 3], endings=["_1", "_2"])
_dataset = dict(type="SourceDataset", in_chans=6)
_views = dict(type="SplitViews", groups=dict(first=[0, 1, 2], second=[3, 4, 5]))

train_dataloader = dict(
    # Changes no result:
    num_workers="auto",  # cores / processes
    persistent_workers=True,
    prefetch_factor=4,
    # Changes results:
    batch_size=32,  # per process; accumulation follows from effective_batch_size
    drop_last=True,
    dataset=dict(
        **_dataset,
        source=dict(**_source, sources=[dict(type="FolderSource", root="data/scene_pairs/train")]),
        pipeline=[  # for each view alone
            _views,
            dict(type="torchvision.transforms.v2.RandomCrop"),
            dict(
                type="torchvision.transforms.v2.ColorJitter",
                brightness=0.4,
                contrast=0.4,
                saturation=0.4,
            ),
        ],
    ),
)
val_dataloader = dict(
    batch_size=128,
    num_workers="auto",
    persistent_workers=True,
    dataset=dict(
        **_dataset,
        source=dict(**_source, sources=[dict(type="FolderSource", root="data/scene_pairs/val")]),
        limit=1000,
        pipeline=[_views, dict(type="torchvision.transforms.v2.CenterCrop")],
    ),
)
val_cfg = dict(type="ValLoop", evaluators=dict(loss=dict(type="LossEvaluator")))
