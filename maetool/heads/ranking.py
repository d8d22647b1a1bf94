"""Which of two patches has the larger number."""

from math import log

import torch
from torch import Tensor, nn

from maetool.registry import HEADS
from maetool.structures import MaskPlan
from maetool.structures.logged import only_logged
from maetool.structures.over_processes import total_of

_LEAST = 1e-6  # added to a probability, as published


@HEADS.register_module()
class RankingHead(nn.Module):
    """Predictions must order the patches of an image as the target does, whatever their values.

    Of each pair of predicted patches the difference of their predictions is the logit of "the second has the larger
    target"; pairs of equal targets do not count. Computed in float32 whatever the autocast. Source: HPM
    (Haochen-Wang409/HPM, `models_mae_learn_loss.py`), its relative loss.

    Attributes:
        contrasts: True: a perfect prediction costs something too.
    """

    takes_tokens = False
    contrasts = True

    def __init__(self) -> None:
        super().__init__()

    def forward(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Return scalar losses.

        Args:
            pred: predictions (B, M, P), whose mean over P is compared.
            target: numbers (B, M, P), likewise.
            plan: whose `weight` weighs the patches; a pair has the product of its two.

        Returns:
            `loss`, the mean over all pairs of the batch, and without gradient `constant_predictor`, that of equal
            predictions, and `pair_accuracy`, the share of the pairs that are ordered rightly.
        """
        with torch.autocast(pred.device.type, enabled=False):
            pred, target = pred.float().mean(dim=-1), target.float().mean(dim=-1)  # (B, M)
            difference = pred[:, None] - pred[:, :, None]  # (B, M, M)
            # Of the two orders of a pair the one whose second is larger: the other one costs the same.
            pairs = (target[:, None] > target[:, :, None]).float()
            if plan.weight is not None:
                pairs = pairs * plan.weight[:, None] * plan.weight[:, :, None]
            pairs = pairs / total_of(pairs, plan.weight is not None).clamp(min=1e-6)
            loss = -(pairs * (difference.sigmoid() + _LEAST).log()).sum()
        logged = only_logged(
            lambda: {
                "constant_predictor": -log(0.5 + _LEAST) * pairs.sum(),
                "pair_accuracy": (pairs * (difference > 0)).sum(),
            }
        )
        return {"loss": loss, **logged}
