# Pascal VOC 2012, 20 classes and the background, in VOCdevkit/VOC2012.
_names = """
background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, motorbike,
person, pottedplant, sheep, sofa, train, tvmonitor
"""
_classes = [name.strip() for name in _names.split(",")]
_loader = dict(num_workers="auto", persistent_workers=True, collate_fn=dict(type="default_collate"))
_dataset = dict(
    type="SegmentationDataset",
    root="data/VOCdevkit/VOC2012",
    images="JPEGImages",
    annotations="SegmentationClass",
    classes=_classes,
)

train_dataloader = dict(
    **_loader,
    prefetch_factor=4,
    batch_size=4,  # of one process; effective_batch_size says how many are accumulated
    drop_last=True,
    sampler=dict(type="KeyedSampler", shuffle=True),
    dataset=dict(
        **_dataset,
        names="ImageSets/Segmentation/train.txt",
        pipeline=[
            dict(type="RandomScale", long_side=2048, short_side=512, ratio=(0.5, 2.0)),
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
        names="ImageSets/Segmentation/val.txt",
        pipeline=[dict(type="FitSize", long_side=2048, short_side=512)],
    ),
)
val_cfg = dict(type="SegmentationValLoop")
val_evaluator = []
