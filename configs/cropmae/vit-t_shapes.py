"""CropMAE, a tiny ViT on crops of drawn shapes; a quarter of the patches of the local view stay visible.

Command: python tools/train.py configs/cropmae/vit-t_shapes.py
Hardware: two CPU cores, a few minutes. Results: docs/methods/cropmae.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/cross_view.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/default.py",
]

_views = dict(type="GlobalToLocalViews", global_scale=(0.5, 1.0), local_scale=(0.3, 0.6), flip=0.0)

model = dict(
    encoder=_base_.encoder,
    masker=dict(mask_ratio=0.75),
    decoder=dict(embed_dim=96, depth=1, num_heads=4, hidden_dim=384, dropout=0.0),
    view="local",
    context="global",
)
train_dataloader = dict(dataset=dict(img_size=48, num_samples=8000, pipeline=[_views]))
val_dataloader = dict(dataset=dict(img_size=48, pipeline=[_views]))
_pictures = dict(dataloader=_base_.val_dataloader)  # not views
val_cfg = dict(
    evaluators=dict(
        knn=_pictures,
        probe=dict(type="LinearProbeEvaluator", optional=True, **_pictures),
    )
)
train_cfg = dict(max_epochs=8, val_interval=4)
