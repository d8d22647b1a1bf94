"""Images and their labels from files, by index and key."""

from maetool._lazy import lazily

_PLACES = {
    "base": ("ImageDataset",),
    "coco": ("CocoDataset",),
    "csv_table": ("CsvDataset",),
    "detection": ("ObjectDataset", "collate_objects"),
    "image_folder": ("ImageFolderDataset",),
    "segmentation": ("SegmentationDataset",),
    "shard_dataset": ("ShardDataset",),
    "source_dataset": ("SourceDataset",),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
