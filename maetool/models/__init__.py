"""Models: the parts joined."""

from .classifier import ImageClassifier
from .mim import MaskedImageModel

__all__ = ["ImageClassifier", "MaskedImageModel"]
