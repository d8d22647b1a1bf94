"""SiamMAE, a tiny ViT on pairs of frames of drawn clips of 32 pixels; a quarter of the future's patches stay visible.

Command: python tools/train.py configs/siammae/vit-t_moving_shapes.py
Hardware: two CPU cores, a few minutes. Results: docs/methods/cropmae.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/cross_view.py",
    "../_base_/datasets/moving_shapes_pairs.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

_frames = dict(
    img_size=48,
    pipeline=[
        dict(type="RandomResizedCrop", size=40, scale=(0.25, 0.6)),  # no flip: it would swap two of the classes
        dict(type="TwoFrames", gap=(1, 4)),
        dict(type="torchvision.transforms.v2.RandomCrop"),  # of each frame alone, as by a hand-held camera
    ],
)
_pictures = dict(  # with classes, which frames of these clips do not have
    batch_size=250,
    num_workers=0,
    dataset=dict(type="ShapesDataset", num_samples=1000, seed=1),
)

model = dict(
    encoder=_base_.encoder,
    masker=dict(mask_ratio=0.75),
    decoder=dict(embed_dim=96, depth=1, num_heads=4, hidden_dim=384, dropout=0.0),
    view="future",
    context="past",
)
train_dataloader = dict(dataset=_frames)
val_dataloader = dict(dataset=_frames)
val_cfg = dict(
    bank_dataloader=dict(_pictures, dataset=dict(_pictures["dataset"], seed=2)),
    evaluators=dict(
        knn=dict(type="KnnEvaluator", pixels=True, dataloader=_pictures),
        probe=dict(type="LinearProbeEvaluator", dataloader=_pictures),
    ),
)
train_cfg = dict(max_epochs=16, val_interval=8)
