"""VideoMAE, ViT-B, 1600 epochs on clips of 16 frames at 224 pixels.

Command: python tools/train.py configs/videomae/vit-b_1600e.py, with your videos as train_dataloader.dataset
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 81.5 % top-1 fine-tuned on Kinetics-400 (MCG-NJU/VideoMAE); quoted, not run by us.
Data: that of vit-b_800e.py.
Deviations from MCG-NJU/VideoMAE: those of vit-b_800e.py.
"""

_base_ = ["vit-b_800e.py"]

train_cfg = dict(max_epochs=1600)
