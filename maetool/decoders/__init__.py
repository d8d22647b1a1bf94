"""Tokens and a plan to predictions."""

from .linear import LinearDecoder
from .transformer import TransformerDecoder

__all__ = ["LinearDecoder", "TransformerDecoder"]
