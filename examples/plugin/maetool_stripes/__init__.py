"""Striped masks, mean colours and stripes as tokens: importing this package registers them."""

from .masker import StripeMasker
from .stem import StripeStem
from .target import MeanColourTarget

__all__ = ["MeanColourTarget", "StripeMasker", "StripeStem"]
