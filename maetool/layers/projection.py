"""Linear maps with layer norms, which an encoder has in pretraining only."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def projection_of(embed_dim: int, widths: Sequence[int]) -> nn.Sequential:
    """Return maps from tokens (..., D) over the hidden `widths` back to (..., D).

    Each map has no bias, and a layer norm after it; between them are GELUs. Source: Latent MIM
    (yibingwei-1/LatentMIM, `models_lmim.py`).

    Args:
        embed_dim: D.
        widths: of what lies between the maps.
    """
    parts: list[nn.Module] = []
    for before, after in pairwise([embed_dim, *widths, embed_dim]):
        parts += [nn.Linear(before, after, bias=False), nn.LayerNorm(after), nn.GELU()]
    return nn.Sequential(*parts[:-1])
