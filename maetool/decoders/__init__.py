"""Tokens and a plan to predictions."""

from .transformer import TransformerDecoder

__all__ = ["TransformerDecoder"]
