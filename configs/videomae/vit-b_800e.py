"""VideoMAE, ViT-B, 800 epochs on clips of 16 frames at 224 pixels.

Command: python tools/train.py configs/videomae/vit-b_800e.py, with your videos as train_dataloader.dataset
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 80.0 % top-1 fine-tuned on Kinetics-400 (MCG-NJU/VideoMAE); quoted, not run by us.
Data: maetool reads no video files yet: drawn clips replace Kinetics-400 (every fourth frame of its videos).
Deviations from MCG-NJU/VideoMAE: those that all recipes share (docs/methods/README.md); RandomResizedCrop instead
    of crops of four sizes at 13 places; the mask token is initialised as MAE's, not cut at one deviation.
"""

_base_ = [
    "../_base_/encoders/vit-b_clips.py",
    "../_base_/models/videomae.py",
    "../_base_/datasets/clips.py",
    "../_base_/schedules/videomae.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder)
