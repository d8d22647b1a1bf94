# Pictures like those that configs/mae/vit-t_shapes.py trains on, with boxes and masks; others to validate on.
train_dataloader = dict(
    # Changes no result:
    num_workers=0,  # drawn once and cached; workers would only take cores from the model
    # Changes results:
    batch_size=8,  # many small steps learn more in the same time
    drop_last=True,
    dataset=dict(
        type="ObjectShapesDataset",
        num_samples=400,
        seed=0,
        pipeline=[dict(type="FlipObjects", p=0.5), dict(type="LargeScaleJitter", scale=(0.8, 1.25))],
    ),
)
val_dataloader = dict(
    batch_size=50,
    num_workers=0,
    dataset=dict(type="ObjectShapesDataset", num_samples=200, seed=1, pipeline=[dict(type="FitObjects")]),
)
val_cfg = dict(type="ValLoop", evaluators=dict(objects=dict(type="DetectionEvaluator")))
