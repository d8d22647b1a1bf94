"""Classification where the target is a share of each class."""

import torch
from torch import Tensor, nn

from maetool.annotations import Positive
from maetool.registry import HEADS
from maetool.structures import MaskPlan
from maetool.structures.logged import only_logged
from maetool.structures.over_processes import mean_of_patches


@HEADS.register_module()
class SoftLabelHead(nn.Module):
    """The cross entropy of a patch's shares, then the weighted mean over the predicted patches of the batch.

    Computed in float32 whatever the autocast. Source: CAPI (facebookresearch/capi, `train_capi.py`).

    Args:
        temperature: the logits are divided by it.

    Attributes:
        takes_shares: True, the target is P numbers of a patch from 0 on, whose sum is 1.
        contrasts: True: a perfect prediction costs something too, the entropy of the target.
    """

    takes_tokens = False
    takes_shares = True
    contrasts = True

    def __init__(self, temperature: Positive = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Return scalar losses.

        Args:
            pred: logits (B, M, P).
            target: shares (B, M, P).
            plan: whose `weight` weighs the patches.

        Returns:
            `loss`, and without gradient `constant_predictor`: the same loss of the best constant logits, those of the
            mean shares of the batch, and `target_entropy`, in nats, what a perfect prediction costs.
        """
        logged = only_logged(lambda: _references(target.float(), plan))
        return {"loss": plan.average(self.errors(pred, target, plan)), **logged}

    def errors(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> Tensor:
        """Return the cross entropy of each patch, float32 (B, M); `pred`, `target` and `plan` as in `forward`."""
        with torch.autocast(pred.device.type, enabled=False):
            logs = (pred.float() / self.temperature).log_softmax(dim=-1)
            return -(target.float() * logs).sum(dim=-1)


def _references(target: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
    mean = mean_of_patches(target, plan.weight)
    return {
        "constant_predictor": plan.average(-(target * mean.clamp(min=1e-9).log()).sum(dim=-1)),
        "target_entropy": plan.average(-torch.xlogy(target, target).sum(dim=-1)),
    }
