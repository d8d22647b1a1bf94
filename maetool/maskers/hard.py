"""The masker of what is hard."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.random import KeyedRandom
from maetool.registry import MASKERS

from .base import Masker


@MASKERS.register_module()
class HardPatchMasker(Masker):
    """Removes the patches whose losses are predicted to be largest, more of them as training progresses, and others.

    The predictions are the clue "losses" (B, L), of a `MomentumTeacher` that `predicts` or of an advisor. Outside of
    training it hides as many hard patches as at the end. Source: HPM (Haochen-Wang409/HPM, `engine_pretrain.py`), whose
    share grows once an epoch.

    Args:
        mask_ratio, predict_ratio: see `Masker`.
        hard_share: of the removed patches, how many are the hardest, at the beginning and at the end; it changes
            linearly. The other removed patches are drawn from all that are left.

    Raises:
        UsageError: shares outside [0, 1], or see `Masker`.
    """

    needs = ("losses",)
    takes_padding = False

    def __init__(
        self, mask_ratio: float = 0.75, predict_ratio: float | None = None, hard_share: Sequence[float] = (0.0, 0.5)
    ) -> None:
        super().__init__(mask_ratio, predict_ratio)
        if len(hard_share) != 2 or not all(0 <= share <= 1 for share in hard_share):
            raise UsageError(
                f"hard_share is {hard_share!r}, but must be two shares of the removed patches from 0 to 1, that of the "
                "beginning and that of the end."
            )
        self.hard_share = tuple(hard_share)

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...], **clues: Tensor) -> Tensor:
        """Return scores (B, L): the hardest above all others, which are in random order.

        Args:
            rng: random numbers of each of the B samples.
            grid: patches along each axis; L is their product.
            clues: `losses` (B, L), the predicted loss of each patch.
        """
        length, (first, last) = prod(grid), self.hard_share
        share = first + (last - first) * (self.progress if self.training else 1.0)
        hard = int((length - self.num_keep(grid)) * share + 1e-6)
        rank = clues["losses"].argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # (B, L), 0 is the hardest
        return torch.where(rank < hard, 2.0 - rank / length, rng.order(length))
