"""MAE of crops of histopathology slides, ViT-B/16 at 224 pixels.

Command: python tools/train.py configs/breast/vit-b_800e.py --data FOLDER, of crops that were cut from the slides
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: no number; we read the abstract only, which has none. Not run by us.
Deviations: no code is published, and only the idea is the paper's: the size of the encoder and the schedule are MAE's;
    those that all recipes share (docs/methods/README.md). Crops keep the scale of the slide: they are cut, not resized.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=_base_.encoder)
train_dataloader = dict(
    dataset=dict(
        root="data/slides/train",
        pipeline=[dict(type="ResizeRandomCrop", padding=4), dict(type="RandomHorizontalFlip", p=0.5)],
    )
)
val_dataloader = dict(dataset=dict(root="data/slides/val", pipeline=[dict(type="ResizeCenterCrop", resize_ratio=1.0)]))
val_cfg = dict(
    bank_dataloader=dict(
        dataset=dict(root="data/slides/train", pipeline=[dict(type="ResizeCenterCrop", resize_ratio=1.0)])
    )
)
