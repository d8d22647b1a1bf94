"""UPerNet on ViT-B/16, ADE20K at 512 pixels, 160,000 steps.

Command: python tools/train.py configs/segmentation/upernet_vit-b_ade20k_160k.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 16 is accumulated. Hours: not measured by us at this size.
Expect: 48.1 % mean IoU after MAE for 1,600 epochs (quoted in the README of Haochen-Wang409/HPM), not run by us.
Deviations from mmsegmentation 1.1.2: those that all recipes share (docs/methods/README.md); an epoch of warm-up (1,263
    steps) instead of 1,500 steps, and 127 complete epochs, 160,401 steps; ignored pixels do not count in the mean loss.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/segmentation.py",
    "../_base_/runtime/segmentation.py",
]

model = dict(encoder=dict(_base_.encoder, img_size=512))
