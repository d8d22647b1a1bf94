"""What should have been predicted."""

from .features import FeatureTarget, MomentumFeatureTarget, TeacherTarget
from .hog import HOGTarget
from .low_frequency import LowFrequencyTarget
from .picture import PictureTarget
from .pixel import PixelTarget
from .tokens import TokenTarget

__all__ = [
    "FeatureTarget",
    "HOGTarget",
    "LowFrequencyTarget",
    "MomentumFeatureTarget",
    "PictureTarget",
    "PixelTarget",
    "TeacherTarget",
    "TokenTarget",
]
