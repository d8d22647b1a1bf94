# Pictures drawn from (seed, index): nothing to download.
_eval = dict(batch_size=250, num_workers=0)

train_dataloader = dict(
    # Changes no result:
    num_workers=0,  # drawn once and cached; workers would only take cores from the model
    # Changes results:
    batch_size=64,
    drop_last=True,
    dataset=dict(type="ShapesDataset", num_samples=16000, seed=0),  # no flip: it would swap two of the classes
)
val_dataloader = dict(**_eval, dataset=dict(type="ShapesDataset", num_samples=1000, seed=1))
val_cfg = dict(
    type="ValLoop",
    bank_dataloader=dict(**_eval, dataset=dict(type="ShapesDataset", num_samples=1000, seed=2)),
    evaluators=dict(
        loss=dict(type="LossEvaluator"),
        knn=dict(type="KnnEvaluator", pixels=True, optional=True),
    ),
)
