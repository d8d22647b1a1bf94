"""Building blocks that several parts share."""

from .attention import Attention
from .block import Block, LayerScale, check_heads, transformer_blocks
from .drop_path import DropPath
from .embed import PatchEmbed, embed_patches
from .init import init_as_mae
from .linear import GeluLinear, Linear
from .mlp import Mlp
from .norm import LayerNorm, LayerNorm2d
from .stack import find_layers, run_blocks, run_blocks_at

__all__ = [
    "Attention",
    "Block",
    "DropPath",
    "GeluLinear",
    "LayerNorm",
    "LayerNorm2d",
    "LayerScale",
    "Linear",
    "Mlp",
    "PatchEmbed",
    "check_heads",
    "embed_patches",
    "find_layers",
    "init_as_mae",
    "run_blocks",
    "run_blocks_at",
    "transformer_blocks",
]
