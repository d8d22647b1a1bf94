# imagenet.py with crops of nearly the complete image, as in PixMIM and MFF.
_base_ = "imagenet.py"

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="ResizeRandomCrop", padding=4),
            dict(type="RandomHorizontalFlip", p=0.5),
        ],
    ),
)
