"""kNN on the mean patch token of the tiny ViT, drawn shapes; nothing is trained.

Command: python tools/test.py configs/knn/vit-t_shapes.py CHECKPOINT
Hardware: a CPU, half a minute. Measured in docs/classification.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/classifier_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, pooling="avg", frozen=True)
train_dataloader = None
val_cfg = dict(evaluators=dict(_delete_=True, knn=dict(type="KnnEvaluator", k=20, temperature=0.07)))
