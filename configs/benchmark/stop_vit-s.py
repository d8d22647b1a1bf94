"""StoP in the benchmark of methods: ViT-S/16, 200 epochs at 224 pixels.

Command: python tools/train.py configs/benchmark/stop_vit-s.py --data FOLDER; all methods: docs/results/methods.md.
Hardware: any; the effective batch of 512 is accumulated. Hours: not measured by us at this size.
Expect: no published number; not run by us.
Encoder, optimiser, length and crops are those of all methods here, not the published ones. Otherwise as I-JEPA here.
"""

_base_ = "ijepa_vit-s.py"

model = dict(decoder=dict(query_noise=0.25))
