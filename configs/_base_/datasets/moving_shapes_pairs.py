# Two frames of drawn clips: nothing to download.
_base_ = "shapes.py"

_dataset = dict(
    _delete_=True,
    type="MovingShapesDataset",
    frames=8,
    pipeline=[
        dict(type="RandomResizedCrop", scale=(0.5, 1.0)),  # no flip: it would swap two of the classes
        dict(type="TwoFrames", gap=(1, 4)),
    ],
)

train_dataloader = dict(dataset=dict(**_dataset, num_samples=4000, seed=0))
val_dataloader = dict(dataset=dict(**_dataset, num_samples=1000, seed=1))
# A frame says nothing about the class.
val_cfg = dict(_delete_=True, type="ValLoop", evaluators=dict(loss=dict(type="LossEvaluator")))
