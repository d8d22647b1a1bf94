# Drawn pictures with the share that their objects cover, in percent; other pictures to validate on.
train_dataloader = dict(
    # Changes no result:
    num_workers=0,  # drawn once and cached; workers would only take cores from the model
    # Changes results:
    batch_size=50,
    drop_last=True,
    dataset=dict(
        type="MeasuredShapes",
        num_samples=4000,
        seed=0,
        pipeline=[dict(type="RandomHorizontalFlip")],  # no crop: it would change the share
    ),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    dataset=dict(type="MeasuredShapes", num_samples=1000, seed=1),
)
val_cfg = dict(type="ValLoop", evaluators=dict(numbers=dict(type="RegressionEvaluator")))
