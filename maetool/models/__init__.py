"""Models: the parts joined."""

from .mim import MaskedImageModel

__all__ = ["MaskedImageModel"]
