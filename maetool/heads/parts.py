"""Regression of a target of several parts."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.registry import HEADS
from maetool.structures import MaskPlan

from .regression import RegressionHead


@HEADS.register_module()
class PartsHead(RegressionHead):
    """The weighted sum of the errors of equal parts of a target, such as the layers of a teacher that it concatenates.

    Each part is compared for itself as `RegressionHead` compares. Source: MaskAlign (OpenDriveLab/maskalign).

    Args:
        out_dim: P; the target's.
        weights: of the parts, one each.
        loss, beta, normalise: see `RegressionHead`.

    Raises:
        UsageError: weights that are negative, all 0, or do not divide P; or see `RegressionHead`.
    """

    def __init__(
        self,
        out_dim: int,
        weights: Sequence[float] = (1.0,),
        loss: Literal["l1", "l2", "smooth_l1", "cosine"] = "l2",
        beta: float = 1.0,
        normalise: Literal["none", "length"] = "none",
    ) -> None:
        super().__init__(loss, beta, normalise)
        if not weights or min(weights) < 0 or not sum(weights) > 0 or out_dim % len(weights):
            raise UsageError(
                f"The weights are {weights!r}, but must be at least 0, not all 0, and of equal parts of the target's "
                f"{out_dim} numbers: give one for each layer that it concatenates."
            )
        self.weights = tuple(weights)

    def errors(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> Tensor:
        """Return the error of each predicted patch, float32 (B, M); `pred`, `target` and `plan` as in `forward`."""
        number = len(self.weights)
        parts = zip(pred.chunk(number, dim=-1), target.chunk(number, dim=-1), self.weights, strict=True)
        return torch.stack([w * super(PartsHead, self).errors(p, t, plan) for p, t, w in parts]).sum(dim=0)
