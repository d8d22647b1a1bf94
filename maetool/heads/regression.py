"""Regression of the target."""

from typing import Literal

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
        loss: "l2" (squared error), "l1" (absolute error) or "smooth_l1".

    Raises:
        UsageError: an unknown loss.
    """

    def __init__(self, loss: Literal["l1", "l2", "smooth_l1"] = "l2") -> None:
        super().__init__()
        if loss not in _LOSSES:
            raise UsageError(f"loss is {loss!r}, but must be one of {', '.join(_LOSSES)}.")
        self.loss = loss

    def forward(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Return scalar losses of predictions (B, M, P) against a target (B, M, P).

        Returns:
            `loss`, and without gradient `constant_predictor`: the same error of the best constant patch, the average
            target, which says what a loss is worth.
        """
        constant = target.float().mean(dim=(0, 1), keepdim=True)
        with torch.no_grad():
            reference = self._error(constant.expand_as(target), target, plan)
        return {"loss": self._error(pred, target, plan), "constant_predictor": reference}

    def _error(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> Tensor:
        with torch.autocast(pred.device.type, enabled=False):
            each = _LOSSES[self.loss](pred.float(), target.float(), reduction="none").mean(dim=-1)  # (B, M)
            if plan.weight is None:
                return each.mean()
            return (each * plan.weight).sum() / plan.weight.sum().clamp(min=1e-6)
