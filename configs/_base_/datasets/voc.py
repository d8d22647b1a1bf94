# Pascal VOC 2012, 20 classes and the background, in VOCdevkit/VOC2012.
_base_ = "segmentation.py"

_names = """
background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, motorbike,
person, pottedplant, sheep, sofa, train, tvmonitor
"""
_classes = [name.strip() for name in _names.split(",")]
_dataset = dict(
    root="data/VOCdevkit/VOC2012",
    images="JPEGImages",
    annotations="SegmentationClass",
    classes=_classes,
)

train_dataloader = dict(dataset=dict(**_dataset, names="ImageSets/Segmentation/train.txt"))
val_dataloader = dict(dataset=dict(**_dataset, names="ImageSets/Segmentation/val.txt"))
