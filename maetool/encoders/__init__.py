"""Images and a plan to tokens."""

from .from_timm import TimmEncoder
from .hybrid import HybridTransformer
from .swin import SwinTransformer
from .vit import VisionTransformer
from .windowed import WindowedTransformer

__all__ = ["HybridTransformer", "SwinTransformer", "TimmEncoder", "VisionTransformer", "WindowedTransformer"]
