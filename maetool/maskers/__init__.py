"""Who decides what is hidden."""

from .base import Masker
from .color import ColorNoiseMasker
from .combined import GivenMasker, MixedMasker, ScheduledMasker
from .random import RandomMasker
from .structured import AlignedMasker, BlockMasker, GridMasker, InverseBlockMasker

__all__ = [
    "AlignedMasker",
    "BlockMasker",
    "ColorNoiseMasker",
    "GivenMasker",
    "GridMasker",
    "InverseBlockMasker",
    "Masker",
    "MixedMasker",
    "RandomMasker",
    "ScheduledMasker",
]
