# Cityscapes, 19 classes: the PNGs *_labelTrainIds.png, which cityscapesscripts writes. Colours are its own.
_names = """
road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky, person, rider,
car, truck, bus, train, motorcycle, bicycle
"""
_classes = [name.strip() for name in _names.split(",")]
_palette = [
    *[(128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153)],
    *[(250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0)],
    *[(0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)],
]
_loader = dict(num_workers="auto", persistent_workers=True, collate_fn=dict(type="default_collate"))
_dataset = dict(
    type="SegmentationDataset",
    root="data/cityscapes",
    image_suffix="_leftImg8bit.png",
    annotation_suffix="_gtFine_labelTrainIds.png",
    classes=_classes,
    palette=_palette,
)

train_dataloader = dict(
    **_loader,
    prefetch_factor=4,
    batch_size=2,  # of one process; effective_batch_size says how many are accumulated
    drop_last=True,
    sampler=dict(type="KeyedSampler", shuffle=True),
    dataset=dict(
        **_dataset,
        images="leftImg8bit/train",
        annotations="gtFine/train",
        pipeline=[
            dict(type="RandomScale", long_side=2048, short_side=1024, ratio=(0.5, 2.0)),
            dict(type="ClassBalancedCrop", max_share=0.75),
            dict(type="RandomFlip", p=0.5),
            dict(type="PhotometricDistortion"),
        ],
    ),
)
val_dataloader = dict(
    **_loader,
    batch_size=1,  # the images have different sizes
    sampler=dict(type="KeyedSampler", shuffle=False),
    dataset=dict(
        **_dataset,
        images="leftImg8bit/val",
        annotations="gtFine/val",
        pipeline=[dict(type="FitSize", long_side=2048, short_side=1024)],
    ),
)
val_cfg = dict(type="SegmentationValLoop")
val_evaluator = []
