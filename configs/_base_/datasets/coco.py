# COCO 2017 as it is published: --data FOLDER, with annotations/, train2017/ and val2017/ inside.
_loader = dict(num_workers="auto", persistent_workers=True)  # cores / processes

train_dataloader = dict(
    # Changes no result:
    **_loader,
    prefetch_factor=2,
    # Changes results:
    batch_size=1,  # per process; accumulation follows from effective_batch_size
    drop_last=True,
    dataset=dict(
        type="CocoDataset",
        root="data/coco/train2017",
        annotations="data/coco/annotations/instances_train2017.json",
        pipeline=[dict(type="FlipObjects", p=0.5), dict(type="LargeScaleJitter", scale=(0.1, 2.0))],
    ),
)
val_dataloader = dict(
    **_loader,
    batch_size=1,
    dataset=dict(
        type="CocoDataset",
        root="data/coco/val2017",
        annotations="data/coco/annotations/instances_val2017.json",
        pipeline=[dict(type="FitObjects")],
    ),
)
val_cfg = dict(type="ValLoop", evaluators=dict(objects=dict(type="DetectionEvaluator")))
