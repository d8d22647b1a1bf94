"""MaskFeat in the benchmark of methods: ViT-S/16, 200 epochs at 224 pixels.

Command: python tools/train.py configs/benchmark/maskfeat_vit-s.py --data FOLDER; all methods: docs/results/methods.md.
Hardware: any; the effective batch of 512 is accumulated. Hours: not measured by us at this size.
Expect: no published number; not run by us.
Encoder, optimiser, length and crops are those of all methods here, not the published ones. The clipping is MaskFeat's.
"""

_base_ = [
    "../_base_/encoders/vit-s.py",
    "../_base_/models/mask_tokens.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/benchmark.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    encoder=_base_.encoder,
    masker=dict(mask_ratio=78 / 196, min_patches=15),
    target=dict(type="HOGTarget", nbins=9, cell_size=8),
    head=dict(type="RegressionHead", loss="l2"),
)
optim_wrapper = dict(clip_grad=dict(max_norm=0.02))
