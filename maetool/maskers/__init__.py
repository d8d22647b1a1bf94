"""Who decides what is hidden."""

from .base import Masker
from .random import RandomMasker

__all__ = ["Masker", "RandomMasker"]
