# Clips drawn from (seed, index): nothing to download. The class of a clip is the movement of its shapes.
_eval = dict(batch_size=100, num_workers=0)

train_dataloader = dict(
    # Changes no result:
    num_workers=0,  # drawn once and cached; workers would only take cores from the model
    # Changes results:
    batch_size=64,
    drop_last=True,
    dataset=dict(type="MovingShapesDataset", num_samples=2000, seed=0),  # no flip: it would swap two of the classes
)
val_dataloader = dict(**_eval, dataset=dict(type="MovingShapesDataset", num_samples=400, seed=1))
val_cfg = dict(
    type="ValLoop",
    bank_dataloader=dict(**_eval, dataset=dict(type="MovingShapesDataset", num_samples=800, seed=2)),
    evaluators=dict(
        loss=dict(type="LossEvaluator"),
        knn=dict(type="KnnEvaluator", pixels=True, optional=True),
    ),
)
