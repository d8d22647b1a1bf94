"""MAE with block-wise masking at 75 %: the mask sampling of the MAE ablation, on ViT-B/16, 800 epochs.

Command: python tools/train.py configs/mae/vit-b-block_800e.py [--data FOLDER]
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: worse than random masking, as in the paper's ablation (table 1f, done with ViT-L). Not run by us.
Deviations from the paper: ViT-B instead of ViT-L; those of vit-b_800e.py.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder, masker=dict(type="BlockMasker", mask_ratio=0.75))
train_cfg = dict(max_epochs=800)
