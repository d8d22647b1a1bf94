"""Regression of the target."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.errors import UsageError
from maetool.registry import HEADS
from maetool.structures import MaskPlan

_LOSSES = {"l1": functional.l1_loss, "l2": functional.mse_loss, "smooth_l1": functional.smooth_l1_loss}


@HEADS.register_module()
class RegressionHead(nn.Module):
    """The mean error over the numbers of a patch, then the weighted mean over the predicted patches of the batch.

    Computed in float32 whatever the autocast. Source: MAE, section 3 (with "l2").

    Args:
        loss: "l2" (squared error), "l1" (absolute error), "smooth_l1" (squared error over 2 beta where the error is
            below beta, absolute error less beta / 2 above), or "cosine" (1 - cosine, whatever the lengths).
        beta: of "smooth_l1".
        normalise: what is done to prediction and target before they are compared: "length", each vector of P numbers is
            brought to length 1 (DMAE), or "none".
        part_weights: weights of the errors of equal parts of the P numbers, such as the layers that a target
            concatenates, which are then compared each for itself (MaskAlign); their sum is the error. None, there is
            one part of weight 1.
        out_dim: P; the model hands it over.

    Attributes:
        takes_tokens: False, the target is numbers.

    Raises:
        UsageError: an unknown choice, a beta that is not positive, or one for another loss, or weights of parts that are
            negative, all 0, or do not divide P.
    """

    takes_tokens = False

    def __init__(
        self,
        loss: Literal["l1", "l2", "smooth_l1", "cosine"] = "l2",
        beta: float = 1.0,
        normalise: Literal["none", "length"] = "none",
        part_weights: Sequence[float] | None = None,
        out_dim: int | None = None,
    ) -> None:
        super().__init__()
        if loss not in (*_LOSSES, "cosine"):
            raise UsageError(f"loss is {loss!r}, but must be one of {', '.join(_LOSSES)}, cosine.")
        if not beta > 0 or (beta != 1.0 and loss != "smooth_l1"):
            raise UsageError(f'beta is {beta!r} with loss="{loss}", but must be positive, and is for "smooth_l1" only.')
        if normalise not in ("none", "length"):
            raise UsageError(f'normalise is {normalise!r}, but must be "none" or "length".')
        self.loss, self.beta, self.normalise = loss, beta, normalise
        self.part_weights = None if part_weights is None else _checked(part_weights, out_dim)

    def forward(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Return scalar losses.

        Args:
            pred: predictions (B, M, P).
            target: numbers (B, M, P).
            plan: whose `weight` weighs the patches.

        Returns:
            `loss`, and without gradient `constant_predictor`: the same error of the mean target, the best constant
            prediction under "l2", which a model must beat.
        """
        constant = target.float().mean(dim=(0, 1), keepdim=True)
        with torch.no_grad():
            reference = plan.average(self.errors(constant.expand_as(target), target, plan))
        return {"loss": plan.average(self.errors(pred, target, plan)), "constant_predictor": reference}

    def errors(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> Tensor:
        """Return the error of each predicted patch, float32 (B, M); `pred`, `target` and `plan` as in `forward`."""
        with torch.autocast(pred.device.type, enabled=False):
            pred, target = pred.float(), target.float()
            if self.part_weights is None:
                return self._compare(pred, target)
            number = len(self.part_weights)
            parts = zip(pred.chunk(number, dim=-1), target.chunk(number, dim=-1), self.part_weights, strict=True)
            return torch.stack([weight * self._compare(*pair) for *pair, weight in parts]).sum(dim=0)

    def _compare(self, pred: Tensor, target: Tensor) -> Tensor:
        if self.normalise == "length":
            pred, target = functional.normalize(pred, dim=-1), functional.normalize(target, dim=-1)
        return self._each(pred, target)

    def _each(self, pred: Tensor, target: Tensor) -> Tensor:
        if self.loss == "cosine":
            # Half the squared distance of the unit vectors is 1 - cosine, and exactly 0 for equal ones.
            difference = functional.normalize(pred, dim=-1) - functional.normalize(target, dim=-1)
            return 0.5 * difference.square().sum(dim=-1)
        options: dict[str, Any] = {"beta": self.beta} if self.loss == "smooth_l1" else {}
        return _LOSSES[self.loss](pred, target, reduction="none", **options).mean(dim=-1)


def _checked(weights: Sequence[float], out_dim: int | None) -> tuple[float, ...]:
    if not weights or min(weights) < 0 or not sum(weights) > 0 or (out_dim or 0) % len(weights):
        raise UsageError(
            f"part_weights is {weights!r}, but must be weights of at least 0 of equal parts of the {out_dim} numbers of "
            "the target, not all 0: give one for each layer that the target concatenates."
        )
    return tuple(weights)
