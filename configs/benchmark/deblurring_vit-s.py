"""Deblurring MAE in the benchmark of methods: ViT-S/16, 200 epochs at 224 pixels.

Command: python tools/train.py configs/benchmark/deblurring_vit-s.py --data FOLDER
All methods: docs/results/methods.md.
Hardware: any; the effective batch of 512 is accumulated. Hours: not measured by us at this size.
Expect: no published number; not run by us.
Encoder, optimiser, length and crops are those of all methods here, not the published ones.
"""

_base_ = "mae_vit-s.py"

model = dict(
    corruption=dict(type="BlurCorruption", sigma=(1.1, 1.1)),
    target=dict(norm_pix_loss=False),
    at="all",
)
