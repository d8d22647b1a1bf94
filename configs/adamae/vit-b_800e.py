"""AdaMAE, ViT-B, 800 epochs on clips of 16 frames at 224 pixels.

Command: python tools/train.py configs/adamae/vit-b_800e.py, with your videos as train_dataloader.dataset
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 81.7 % top-1 fine-tuned on Kinetics-400 (abstract); quoted, not run by us.
Data: that of configs/videomae/vit-b_800e.py.
Deviations from wgcban/adamae: those that all recipes share (docs/methods/README.md) and those of
    configs/videomae/vit-b_800e.py; no dropout in the network that samples; the batch is that of VideoMAE's recipe.
"""

_base_ = [
    "../_base_/encoders/vit-b_clips.py",
    "../_base_/models/videomae.py",
    "../_base_/datasets/clips.py",
    "../_base_/schedules/videomae.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=_base_.encoder,
    masker=dict(_delete_=True, type="AdaptiveMasker", mask_ratio=0.95),
    masker_weight=1e-4,
)
