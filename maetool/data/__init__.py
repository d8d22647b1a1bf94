"""Datasets, transforms, samplers and the preprocessor."""

from .augment import AugmentingPreprocessor, RandAugment
from .base import ImageDataset, SampleKey
from .csv_dataset import CsvDataset
from .dense_transforms import ClassBalancedCrop, FitSize, PhotometricDistortion, RandomFlip, RandomScale
from .image_folder import ImageFolderDataset
from .preprocessor import ImagePreprocessor
from .samplers import KeyedSampler
from .segmentation import SegmentationDataset
from .shapes import ShapesDataset
from .shapes_segmentation import ShapesSegmentation
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
    "ClassBalancedCrop",
    "CsvDataset",
    "FitSize",
    "ImageDataset",
    "ImageFolderDataset",
    "ImagePreprocessor",
    "KeyedSampler",
    "PhotometricDistortion",
    "RandAugment",
    "RandomFlip",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomScale",
    "Resize",
    "ResizeCenterCrop",
    "ResizeRandomCrop",
    "SampleKey",
    "SegmentationDataset",
    "ShapesDataset",
    "ShapesSegmentation",
    "ShardDataset",
    "SingleDrawCrop",
]
