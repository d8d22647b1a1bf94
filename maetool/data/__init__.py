"""Datasets, transforms, samplers and the preprocessor."""

from .augment import AugmentingPreprocessor, RandAugment
from .base import ImageDataset, SampleKey
from .csv_dataset import CsvDataset
from .image_folder import ImageFolderDataset
from .preprocessor import ImagePreprocessor
from .samplers import KeyedSampler
from .shapes import ShapesDataset
from .shard_dataset import ShardDataset
from .transforms import (
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    ResizeCenterCrop,
    ResizeRandomCrop,
    SingleDrawCrop,
)

__all__ = [
    "AugmentingPreprocessor",
    "CsvDataset",
    "ImageDataset",
    "ImageFolderDataset",
    "ImagePreprocessor",
    "KeyedSampler",
    "RandAugment",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "ResizeCenterCrop",
    "ResizeRandomCrop",
    "SampleKey",
    "ShapesDataset",
    "ShardDataset",
    "SingleDrawCrop",
]
