# The first pictures that configs/mae/vit-t_shapes.py trains on, with labels; others to validate on.
train_dataloader = dict(
    # Changes no result:
    num_workers=0,  # drawn once and cached; workers would only take cores from the model
    # Changes results:
    batch_size=50,
    drop_last=True,
    dataset=dict(
        type="ShapesDataset",
        num_samples=4000,
        seed=0,
        pipeline=[dict(type="RandomResizedCrop", scale=(0.5, 1.0))],  # no flip: it would swap two of the classes
    ),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    dataset=dict(type="ShapesDataset", num_samples=1000, seed=1),
)
val_cfg = dict(type="ValLoop", evaluators=dict(classes=dict(type="ClassificationEvaluator")))
