# The crops of SimMIM: at least two thirds of the image.
_base_ = "imagenet.py"

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="RandomResizedCrop", scale=(0.67, 1.0), ratio=(3 / 4, 4 / 3)),
            dict(type="RandomHorizontalFlip", p=0.5),
        ]
    )
)
