"""Masking at random, as in MAE."""

from math import prod

from torch import Tensor

from maetool.ops.random import KeyedRandom
from maetool.registry import MASKERS

from .base import Masker


@MASKERS.register_module()
class RandomMasker(Masker):
    """Removes patches uniformly at random, each sample on its own. Source: MAE, section 3."""

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...]) -> Tensor:
        """Return numbers in random order (B, L)."""
        return rng.order(prod(grid))
