"""The errors of the model's own prediction as target."""

from typing import Any

import torch
from torch import Tensor, nn

from maetool.registry import TARGETS
from maetool.structures import MaskPlan


@TARGETS.register_module()
class ErrorTarget(nn.Module):
    """The error of each predicted patch of the model's own prediction, for a task that learns what is hard.

    With a `MomentumTeacher` that `predicts` this task a masker can hide what is hard. Source: HPM
    (Haochen-Wang409/HPM), its absolute loss.

    Args:
        standardise: the errors of each sample, to mean 0 and deviation 1 (unbiased).

    Attributes:
        out_dim: P = 1.
        needs: "errors", known to tasks only.
    """

    needs = ("errors",)
    invertible = False
    out_dim = 1

    def __init__(self, standardise: bool = True) -> None:
        super().__init__()
        self.standardise = standardise

    @torch.no_grad()
    def forward(self, images: Any, plan: MaskPlan, errors: Tensor) -> Tensor:
        """Return the errors of the patches `plan.ids_predict`, float32 (B, M, 1).

        Args:
            images: not read.
            plan: of the batch.
            errors: (B, M), of the main prediction, or (B, T + M), of which those of the prefix are left out.
        """
        errors = errors[:, errors.shape[1] - plan.ids_predict.shape[1] :].float()
        if self.standardise:
            var, mean = torch.var_mean(errors, dim=1, keepdim=True)
            errors = (errors - mean) / (var + 1e-6).sqrt()
        return errors[..., None]
