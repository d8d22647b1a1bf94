"""MixedAE in the benchmark of methods: ViT-S/16, 200 epochs at 224 pixels.

Command: python tools/train.py configs/benchmark/mixedae_vit-s.py --data FOLDER; all methods: docs/results/methods.md.
Hardware: any; the effective batch of 512 is accumulated. Hours: not measured by us at this size.
Expect: no published number; not run by us.
Encoder, optimiser, length and crops are those of all methods here, not the published ones.
"""

_base_ = [
    "../_base_/encoders/vit-s.py",
    "../_base_/models/mixedae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/benchmark.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=dict(_base_.encoder, type="MixedTransformer", images=4))
