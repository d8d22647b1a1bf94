"""Datasets, transforms, samplers and the preprocessor."""

from .augment import AugmentingPreprocessor, RandAugment
from .base import ImageDataset, SampleKey
from .coco_dataset import CocoDataset
from .collate import collate_samples
from .csv_dataset import CsvDataset
from .dense_transforms import ClassBalancedCrop, FitSize, PhotometricDistortion, RandomFlip, RandomScale
from .image_folder import ImageFolderDataset
from .object_shapes import ObjectShapesDataset
from .object_transforms import FitObjects, FlipObjects, LargeScaleJitter
from .objects import ObjectDataset, Objects, Picture
from .preprocessor import ImagePreprocessor
from .samplers import KeyedOrder, KeyedSampler
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
    "CocoDataset",
    "CsvDataset",
    "FitObjects",
    "FitSize",
    "FlipObjects",
    "ImageDataset",
    "ImageFolderDataset",
    "ImagePreprocessor",
    "KeyedOrder",
    "KeyedSampler",
    "LargeScaleJitter",
    "ObjectDataset",
    "ObjectShapesDataset",
    "Objects",
    "PhotometricDistortion",
    "Picture",
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
    "collate_samples",
]
