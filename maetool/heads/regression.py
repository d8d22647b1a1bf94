"""Regression of the target."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.errors import UsageError
from maetool.registry import HEADS
from maetool.structures import MaskPlan
from maetool.structures.logged import only_logged
from maetool.structures.over_processes import mean_of_patches

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

    Attributes:
        takes_tokens: False, the target is numbers.

    Raises:
        UsageError: an unknown choice, a beta that is not positive, or one for another loss.
    """

    takes_tokens = False

    def __init__(
        self,
        loss: Literal["l1", "l2", "smooth_l1", "cosine"] = "l2",
        beta: float = 1.0,
        normalise: Literal["none", "length"] = "none",
    ) -> None:
        super().__init__()
        if loss not in (*_LOSSES, "cosine"):
            raise UsageError(f"loss is {loss!r}, but must be one of {', '.join(_LOSSES)}, cosine.")
        if not beta > 0 or (beta != 1.0 and loss != "smooth_l1"):
            raise UsageError(f'beta is {beta!r} with loss="{loss}", but must be positive, and is for "smooth_l1" only.')
        if normalise not in ("none", "length"):
            raise UsageError(f'normalise is {normalise!r}, but must be "none" or "length".')
        self.loss, self.beta, self.normalise = loss, beta, normalise

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

        def logged() -> dict[str, Tensor]:
            constant = mean_of_patches(target.float(), plan.weight).expand_as(target)
            return {"constant_predictor": plan.average(self.errors(constant, target, plan))}

        return {"loss": plan.average(self.errors(pred, target, plan)), **only_logged(logged)}

    def errors(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> Tensor:
        """Return the error of each predicted patch, float32 (B, M); `pred`, `target` and `plan` as in `forward`."""
        with torch.autocast(pred.device.type, enabled=False):
            pred, target = pred.float(), target.float()
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
