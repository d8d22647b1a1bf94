"""Datasets, transforms, samplers and the preprocessor."""

from .augment import AugmentingPreprocessor, RandAugment
from .base import ImageDataset, SampleKey
from .coco_dataset import CocoDataset
from .csv_dataset import CsvDataset
from .image_folder import ImageFolderDataset
from .object_shapes import ObjectShapesDataset
from .object_transforms import FitObjects, FlipObjects, LargeScaleJitter
from .objects import ObjectDataset, Objects, Picture
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
    "CocoDataset",
    "CsvDataset",
    "FitObjects",
    "FlipObjects",
    "ImageDataset",
    "ImageFolderDataset",
    "ImagePreprocessor",
    "KeyedSampler",
    "LargeScaleJitter",
    "ObjectDataset",
    "ObjectShapesDataset",
    "Objects",
    "Picture",
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
