"""Images and a plan to tokens."""

from .vit import VisionTransformer

__all__ = ["VisionTransformer"]
