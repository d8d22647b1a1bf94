"""Models: the parts joined."""

from .classifier import ImageClassifier
from .mim import MaskedImageModel
from .segmentor import Segmentor

__all__ = ["ImageClassifier", "MaskedImageModel", "Segmentor"]
