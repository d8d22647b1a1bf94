"""Striped masks and mean colours: importing this package registers both."""

from .masker import StripeMasker
from .target import MeanColourTarget

__all__ = ["MeanColourTarget", "StripeMasker"]
