"""Models: the parts joined."""

from .classifier import ImageClassifier
from .detector import ObjectDetector
from .mim import MaskedImageModel
from .segmentor import Segmentor

__all__ = ["ImageClassifier", "MaskedImageModel", "ObjectDetector", "Segmentor"]
