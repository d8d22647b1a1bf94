"""Tokens and a plan to predictions."""

from .linear import LinearDecoder
from .transformer import TransformerDecoder
from .visible import VisibleDecoder

__all__ = ["LinearDecoder", "TransformerDecoder", "VisibleDecoder"]
