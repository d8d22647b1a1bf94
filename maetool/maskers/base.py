"""What every masker shares: from scores, or from a given mask, to a plan."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from maetool.ops.geometry import count_kept
from maetool.ops.random import KeyedRandom
from maetool.structures import MaskPlan


class Masker(nn.Module):
    """Base of the maskers; a subclass usually writes `scores` and nothing else.

    Args:
        mask_ratio: share of the patches that is removed, in (0, 1).

    Raises:
        UsageError: a ratio outside (0, 1).
    """

    def __init__(self, mask_ratio: float = 0.75) -> None:
        super().__init__()
        count_kept(10**6, mask_ratio)  # raises early; the grid is not known yet
        self.mask_ratio = mask_ratio

    def forward(
        self, images: Tensor, grid: Sequence[int], given: Tensor | None = None, keys: Tensor | None = None
    ) -> MaskPlan:
        """Return the plan of a batch.

        Args:
            images: (B, C, H, W); most maskers only look at their number and device.
            grid: patches along each axis.
            given: a mask (B, L) or (B, *grid), 1 = removed, that wins over the masker's own choice.
            keys: int64 (B,), the key of each sample: equal keys, equal plans, whatever batch, process or device they
                come in. Without keys they are drawn from torch's default generator.

        Raises:
            UsageError: the ratio leaves no patch visible, or a given mask does not fit.
        """
        if given is not None:
            return MaskPlan.from_mask(given.to(images.device), grid)
        if keys is None:
            keys = torch.randint(2**62, (len(images),))
        scores = self.scores(KeyedRandom(keys.to(images.device)), tuple(grid))
        return MaskPlan.from_scores(scores, self.num_keep(grid), grid)

    def num_keep(self, grid: Sequence[int]) -> int:
        """Return how many patches of a grid stay visible.

        Raises:
            UsageError: none would, or all would.
        """
        return count_kept(prod(grid), self.mask_ratio)

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...]) -> Tensor:
        """Return the scores (B, L) of a batch of `len(rng)` samples; the patches of smallest score stay visible."""
        raise NotImplementedError(f"{type(self).__name__} must say what it hides: write `scores`.")
