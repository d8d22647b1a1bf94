"""dBOT's first stage, with a random teacher, in the benchmark of methods: ViT-S/16, 200 epochs at 224 pixels.

Command: python tools/train.py configs/benchmark/dbot_vit-s.py --data FOLDER; all methods: docs/results/methods.md.
Hardware: any; the effective batch of 512 is accumulated. Hours: not measured by us at this size.
Expect: no published number; not run by us.
Encoder, optimiser, length and crops are those of all methods here, not the published ones. The clipping is dBOT's.
"""

_base_ = [
    "../_base_/encoders/vit-s.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/benchmark.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    encoder=_base_.encoder,
    decoder=dict(predict_prefix=True),
    target=dict(_delete_=True, type="FeatureTarget", teacher=_base_.encoder, layers=[-1], predict_prefix=True),
    head=dict(loss="smooth_l1", beta=2.0),
)
optim_wrapper = dict(clip_grad=dict(max_norm=3.0))
