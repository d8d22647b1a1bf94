"""What should have been predicted."""

from .hog import HOGTarget
from .low_frequency import LowFrequencyTarget
from .pixel import PixelTarget

__all__ = ["HOGTarget", "LowFrequencyTarget", "PixelTarget"]
