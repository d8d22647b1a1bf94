"""kNN on the class token of ViT-B/16, ImageNet-1K at 224 pixels; nothing is trained.

Command: python tools/test.py configs/knn/vit-b_k20.py CHECKPOINT [--data FOLDER]
Hardware: any. Hours: not measured by us at this size.
Expect: 35.6 % with the best of several k and temperatures (billpsomas/efficient-probing); quoted, not run by us.
k is 20 and the temperature 0.07, not tuned, because the validation set would then overestimate the accuracy.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_knn.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, pooling="cls", frozen=True)
train_dataloader = None
val_cfg = dict(evaluators=dict(_delete_=True, knn=dict(type="KnnEvaluator", k=20, temperature=0.07)))
