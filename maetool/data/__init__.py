"""Sources, datasets, transforms, samplers and the preprocessor; each is imported when it is asked for."""

from maetool._lazy import lazily

_PLACES = {
    "collate": ("collate_samples",),
    "datasets.base": ("ImageDataset",),
    "datasets.coco": ("CocoDataset",),
    "datasets.csv_table": ("CsvDataset",),
    "datasets.detection": ("ObjectDataset",),
    "datasets.image_folder": ("ImageFolderDataset",),
    "datasets.segmentation": ("SegmentationDataset",),
    "datasets.shard_dataset": ("ShardDataset",),
    "datasets.source_dataset": ("SourceDataset",),
    "drawn.bands": ("BandsDataset",),
    "drawn.moving_shapes": ("MovingShapesDataset",),
    "drawn.object_shapes": ("ObjectShapesDataset",),
    "drawn.shapes": ("ShapesDataset",),
    "drawn.shapes_segmentation": ("ShapesSegmentation",),
    "keys": ("SampleKey",),
    "objects": ("Objects", "Picture"),
    "samplers": ("KeyedOrder", "KeyedSampler"),
    "sources.base": ("Labels", "Source"),
    "sources.folder": ("FolderSource",),
    "sources.shard_source": ("ShardSource",),
    "sources.table": ("TableSource",),
    "transforms.augment": ("AugmentingPreprocessor", "RandAugment"),
    "transforms.boxes": ("FitObjects", "LargeScaleJitter"),
    "transforms.codes": ("ColourCodes",),
    "transforms.crops": (
        "RandomResizedCrop",
        "Resize",
        "ResizeCenterCrop",
        "ResizeRandomCrop",
        "SingleDrawCrop",
    ),
    "transforms.flips": ("FlipObjects", "RandomFlip", "RandomHorizontalFlip"),
    "transforms.maps": ("ClassBalancedCrop", "FitSize", "PhotometricDistortion", "RandomScale"),
    "transforms.preprocessor": ("ImagePreprocessor",),
    "transforms.sample": ("SampleTransform",),
    "transforms.views": ("GlobalToLocalViews", "SplitChannels", "TwoCrops", "TwoFrames"),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
