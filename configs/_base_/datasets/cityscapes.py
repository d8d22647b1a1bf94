# Cityscapes, 19 classes: the PNGs *_labelTrainIds.png, which cityscapesscripts writes. Colours are its own.
_base_ = "segmentation.py"

_names = """
road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky, person, rider,
car, truck, bus, train, motorcycle, bicycle
"""
_classes = [name.strip() for name in _names.split(",")]
_palette = [
    *[(128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153)],
    *[(250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0)],
    *[(0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)],
]
_dataset = dict(
    root="data/cityscapes",
    image_suffix="_leftImg8bit.png",
    annotation_suffix="_gtFine_labelTrainIds.png",
    classes=_classes,
    palette=_palette,
)

train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        **_dataset,
        images="leftImg8bit/train",
        annotations="gtFine/train",
        pipeline=[
            dict(type="RandomScale", long_side=2048, short_side=1024, ratio=(0.5, 2.0)),
            dict(type="ClassBalancedCrop", max_share=0.75),
            dict(type="RandomFlip", p=0.5),
            dict(type="PhotometricDistortion"),
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(
        **_dataset,
        images="leftImg8bit/val",
        annotations="gtFine/val",
        pipeline=[dict(type="FitSize", long_side=2048, short_side=1024)],
    ),
)
