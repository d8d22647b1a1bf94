"""A masker that hides nothing."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from maetool.ops.random import KeyedRandom
from maetool.registry import MASKERS
from maetool.structures import Layout, MaskPlan, plan_of_all

from .base import Masker


@MASKERS.register_module()
class NoMasker(Masker):
    """Hides nothing: every patch is visible, and every patch is predicted.

    For what is learned from corrupted pixels alone, such as a denoising autoencoder. A mask that is given wins.
    """

    unit = 0  # nothing is hidden, which fits every encoder

    def __init__(self) -> None:
        super().__init__()
        self.mask_ratio = 0.0

    def num_keep(self, grid: Sequence[int]) -> int:
        """Return L, the number of patches of a grid."""
        return prod(grid)

    def plan(self, rng: KeyedRandom, layout: Layout, weight: Tensor | None = None, **clues: Any) -> MaskPlan:
        """Return the plan: all patches are visible, in raster order, and predicted."""
        return plan_of_all(layout, len(rng), rng.device, weight)

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...]) -> Tensor:
        """Return the places in raster order (B, L)."""
        return torch.arange(prod(grid), device=rng.device).expand(len(rng), -1)
