"""MAGE without its generator, ViT-B on 16 x 16 ids of codes, 1600 epochs on ImageNet-1K at 256 pixels.

Command: python tools/train.py configs/mage/vit-b_1600e.py [--data FOLDER]
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: 82.5 % top-1 fine-tuned and 74.7 % linear on ImageNet-1K with a VQGAN's codes (LTH14/mage); quoted, not run by
    us.
Deviations from LTH14/mage: those that all recipes share (docs/methods/README.md); no dropout of 0.1; positions and the
    class token are not decayed; classes have no ids.
A VQGAN is not read by maetool yet: replace `ColourCodes` in the pipeline by a transform that gives its ids
    (16, 16).
"""

_base_ = [
    "../_base_/models/mage.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/no_pictures.py",
]

_codes = dict(type="ColourCodes", patch_size=16, levels=10)  # 1,000 ids
_whole = [dict(type="ResizeCenterCrop", size=256, resize_ratio=1.0), _codes]

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="RandomResizedCrop", size=256, scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)),
            dict(type="RandomHorizontalFlip", p=0.5),
            _codes,
        ]
    )
)
val_dataloader = dict(dataset=dict(pipeline=_whole))
val_cfg = dict(
    bank_dataloader=dict(dataset=dict(pipeline=_whole)),
    evaluators=dict(knn=dict(pixels=False)),  # codes are not pixels
)
train_cfg = dict(max_epochs=1600)
