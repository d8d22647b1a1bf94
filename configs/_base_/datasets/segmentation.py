# What folders of images and index PNGs have in common; a data set adds its folders, classes and other sizes.
_loader = dict(num_workers="auto", persistent_workers=True)  # cores / processes

train_dataloader = dict(
    # Changes no result:
    **_loader,
    prefetch_factor=4,
    # Changes results:
    batch_size=4,  # per process; accumulation follows from effective_batch_size
    drop_last=True,
    dataset=dict(
        type="SegmentationDataset",
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
    dataset=dict(
        type="SegmentationDataset",
        pipeline=[dict(type="FitSize", long_side=2048, short_side=512)],
    ),
)
val_cfg = dict(type="ValLoop", evaluators=dict(pixels=dict(type="SegmentationEvaluator")))
