# imagenet.py with crops that keep nearly the whole image in view, as PixMIM and MFF are trained.
_base_ = "imagenet.py"

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="ResizeRandomCrop", padding=4),
            dict(type="RandomHorizontalFlip", p=0.5),
        ],
    ),
)
