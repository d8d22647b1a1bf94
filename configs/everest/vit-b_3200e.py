"""EVEREST, ViT-B, 3200 epochs on clips of 16 frames at 224 pixels.

Command: python tools/train.py configs/everest/vit-b_3200e.py, with your videos as train_dataloader.dataset
Hardware: any; the effective batch of 192 is accumulated. Hours: not measured by us.
Expect: 93.7 % top-1 fine-tuned on UCF101 (sunilhoho/EVEREST); quoted, not run by us.
Data: maetool reads no video files yet, so drawn clips replace UCF101 (every fourth frame of its videos).
Deviations from sunilhoho/EVEREST: those that all recipes share (docs/methods/README.md) and those of
    configs/videomae/vit-b_800e.py; patches that changed equally are ordered by their place.
"""

_base_ = [
    "../_base_/encoders/vit-b_clips.py",
    "../_base_/models/videomae.py",
    "../_base_/datasets/clips.py",
    "../_base_/schedules/everest.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, masker=dict(_delete_=True, type="ChangeMasker", mask_ratio=0.9, redundancy=0.7))
train_dataloader = dict(batch_size=24)
