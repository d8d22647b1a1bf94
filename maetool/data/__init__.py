"""Datasets, transforms, samplers and the preprocessor."""

from .base import ImageDataset, SampleKey
from .csv_dataset import CsvDataset
from .image_folder import ImageFolderDataset
from .preprocessor import ImagePreprocessor
from .samplers import KeyedSampler
from .shapes import ShapesDataset
from .shard_dataset import ShardDataset
from .transforms import RandomHorizontalFlip, RandomResizedCrop, Resize, ResizeCenterCrop

__all__ = [
    "CsvDataset",
    "ImageDataset",
    "ImageFolderDataset",
    "ImagePreprocessor",
    "KeyedSampler",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "ResizeCenterCrop",
    "SampleKey",
    "ShapesDataset",
    "ShardDataset",
]
