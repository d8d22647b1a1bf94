"""What should have been predicted."""

from .pixel import PixelTarget

__all__ = ["PixelTarget"]
