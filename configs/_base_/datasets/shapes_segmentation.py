# Of the pictures that configs/mae/vit-t_shapes.py trains on, with the classes of their pixels; others to validate on.
train_dataloader = dict(
    # Changes no result:
    num_workers=0,  # drawn once and cached; workers would only take cores from the model
    # Changes results:
    batch_size=8,  # many small steps learn more in the same time
    drop_last=True,
    dataset=dict(
        type="ShapesSegmentation",
        num_samples=3200,
        seed=0,
        pipeline=[
            dict(type="RandomScale", long_side=32, short_side=32, ratio=(0.8, 1.5)),
            dict(type="ClassBalancedCrop", max_share=1.0),
            dict(type="RandomFlip", p=0.5),
        ],
    ),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    dataset=dict(type="ShapesSegmentation", num_samples=500, seed=1),
)
val_cfg = dict(type="ValLoop", evaluators=dict(pixels=dict(type="SegmentationEvaluator")))
