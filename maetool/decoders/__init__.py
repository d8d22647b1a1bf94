"""Tokens and a plan to predictions."""

from .class_bottleneck import ClassBottleneckDecoder
from .cross_attention import CrossAttentionDecoder
from .fusion import LayerFusionDecoder
from .linear import LinearDecoder
from .scaled import ScaledDecoder
from .transformer import TransformerDecoder
from .visible import VisibleDecoder

__all__ = [
    "ClassBottleneckDecoder",
    "CrossAttentionDecoder",
    "LayerFusionDecoder",
    "LinearDecoder",
    "ScaledDecoder",
    "TransformerDecoder",
    "VisibleDecoder",
]
