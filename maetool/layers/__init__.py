"""Building blocks that several parts share."""

from maetool._deprecated import moved

from .attention import Attention, CrossAttention, attend
from .block import Block, LayerScale, check_heads, pre_norm, transformer_blocks
from .calls import call_gelu_linear, call_linear, call_norm_linear, is_plain
from .drop_path import DropPath
from .embed import PatchEmbed, embed_patches, words_of
from .init import Init, init_as_beit, init_as_mae, initialise
from .mixture import mix_layers
from .mlp import Mlp
from .norm import LayerNorm, LayerNorm2d, RMSNorm
from .prototypes import Prototypes
from .stack import find_even_layers, find_layers, run_blocks, run_blocks_at

__all__ = [
    "Attention",
    "Block",
    "CrossAttention",
    "DropPath",
    "Init",
    "LayerNorm",
    "LayerNorm2d",
    "LayerScale",
    "Mlp",
    "PatchEmbed",
    "Prototypes",
    "RMSNorm",
    "attend",
    "call_gelu_linear",
    "call_linear",
    "call_norm_linear",
    "check_heads",
    "embed_patches",
    "find_even_layers",
    "find_layers",
    "init_as_beit",
    "init_as_mae",
    "initialise",
    "is_plain",
    "mix_layers",
    "pre_norm",
    "run_blocks",
    "run_blocks_at",
    "transformer_blocks",
    "words_of",
]
__getattr__ = moved(__name__, {"Linear": "torch.nn.Linear"}, "0.3.0")
