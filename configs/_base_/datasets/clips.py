# Drawn clips instead of videos: set `dataset` to your own, whose `inputs` are clips (C, T, H, W).
_eval = dict(batch_size=16, num_workers="auto", persistent_workers=True)
_drawn = dict(type="MovingShapesDataset", cache=False)

train_dataloader = dict(
    # Changes no result:
    num_workers="auto",  # cores / processes
    persistent_workers=True,
    prefetch_factor=2,
    # Changes results:
    batch_size=32,  # per process; accumulation follows from effective_batch_size
    drop_last=True,
    dataset=dict(
        **_drawn,
        num_samples=240000,
        seed=0,
        pipeline=[dict(type="RandomResizedCrop", scale=(0.4, 1.0), ratio=(6 / 7, 7 / 6))],  # no flip
    ),
)
val_dataloader = dict(**_eval, dataset=dict(**_drawn, num_samples=2000, seed=1))
val_cfg = dict(type="ValLoop", evaluators=dict(loss=dict(type="LossEvaluator")))
