"""Models: the parts joined."""

from .base import TrainableModel, has_following_parts, parts_after_step, start_parts
from .classifier import ImageClassifier
from .detector import ObjectDetector
from .mim import MaskedImageModel
from .segmentor import Segmentor

__all__ = [
    "ImageClassifier",
    "MaskedImageModel",
    "ObjectDetector",
    "Segmentor",
    "TrainableModel",
    "has_following_parts",
    "parts_after_step",
    "start_parts",
]
