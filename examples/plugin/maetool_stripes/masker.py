"""A masker that hides neighbouring columns."""

import torch
from torch import Tensor

from maetool.maskers import Masker
from maetool.ops.random import KeyedRandom
from maetool.registry import MASKERS


@MASKERS.register_module()
class StripeMasker(Masker):
    """Hides neighbouring columns, from a random one on."""

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...]) -> Tensor:
        """Return the scores (B, L): how many columns a patch is behind the one where the stripe begins."""
        h, w = grid
        start = rng.integers(w, 1)  # (B, 1)
        column = torch.arange(w, device=rng.device)
        return ((column - start) % w).float()[:, None].expand(-1, h, -1).flatten(1)  # (B, L)
