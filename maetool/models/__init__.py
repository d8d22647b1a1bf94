"""Models: the parts joined."""

from .classifier import ImageClassifier
from .detector import ObjectDetector
from .mim import MaskedImageModel

__all__ = ["ImageClassifier", "MaskedImageModel", "ObjectDetector"]
