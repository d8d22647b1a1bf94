"""Denoising without a mask in the benchmark of methods: ViT-S/16, 200 epochs at 224 pixels.

Command: python tools/train.py configs/benchmark/denoising_vit-s.py --data FOLDER; all methods: docs/results/methods.md.
Hardware: any; the effective batch of 512 is accumulated. Hours: not measured by us at this size.
Expect: no published number; not run by us.
Encoder, optimiser, length and crops are those of all methods here, not the published ones:
    docs/methods/uninformative_features.md.
"""

_base_ = "mae_vit-s.py"

model = dict(
    masker=dict(_delete_=True, type="NoMasker"),
    corruption=dict(type="NoiseCorruption", sigma=(1.0, 1.0)),
    target=dict(norm_pix_loss=False),
)
