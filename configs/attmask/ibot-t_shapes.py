"""AttMask's masks in iBOT, a tiny ViT on crops of grey drawn shapes.

Command: python tools/train.py configs/attmask/ibot-t_shapes.py
Hardware: two CPU cores, a few minutes. Results: docs/methods/attmask.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/ibot.py",
    "../_base_/datasets/grey_shapes.py",
    "../_base_/schedules/shapes.py",
    "../_base_/runtime/no_pictures.py",
]

_light = [_base_.grey, dict(type="torchvision.transforms.v2.ColorJitter", brightness=0.4, contrast=0.4)]
_large = [dict(type="RandomResizedCrop", scale=(0.4, 1.0)), *_light]
_small = [dict(type="RandomResizedCrop", scale=(0.1, 0.4)), *_light]
_views = {
    "type": "SeveralViews",
    "views": {
        "global": dict(pipeline=_large, crops=2),
        "local": dict(pipeline=_small, crops=2, size=16),
    },
}
_small_projector = dict(hidden_dim=256, bottleneck=64, pool="mean")  # which kNN looks at

model = dict(
    encoder=dict(**_base_.encoder, drop_path_rate=0.0),
    masker=dict(type="AttentionMasker", choose="high"),
    teacher=dict(momentum=0.99),
    decoder=_small_projector,
    target=dict(out_dim=256),
    tasks=dict(patches=dict(target=dict(out_dim=256))),
)
train_dataloader = dict(dataset=dict(img_size=48, num_samples=8000, pipeline=[_views]))
val_dataloader = dict(dataset=dict(img_size=48, pipeline=[_views]))
val_cfg = dict(evaluators=dict(knn=dict(dataloader=_base_.val_dataloader)))  # of pictures, not of views
train_cfg = dict(max_epochs=4)
