"""kNN on the mean patch token of the tiny ViT, drawn shapes; nothing is trained.

Command: python tools/train.py configs/knn/vit-t_shapes.py --init CHECKPOINT
Hardware: a CPU, half a minute. Measured in docs/classification.md.
"""

_base_ = [
    "../_base_/encoders/vit-t_shapes.py",
    "../_base_/models/classifier_shapes.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/knn.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, pooling="avg", frozen=True)
val_cfg = dict(type="KnnValLoop", k=20, temperature=0.07)
