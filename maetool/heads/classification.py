"""Classification over the tokens of a codebook."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.errors import UsageError
from maetool.registry import HEADS
from maetool.structures import MaskPlan
from maetool.structures.logged import only_logged
from maetool.structures.over_processes import with_prefix


@HEADS.register_module()
class ClassificationHead(nn.Module):
    """The cross entropy of a patch's token, then the weighted mean over the predicted patches of the batch.

    Computed in float32 whatever the autocast. Source: BEiT, equation 2.

    Args:
        label_smoothing: share of the wanted probability that is spread over all tokens, in [0, 1).

    Attributes:
        takes_tokens: True, the target is the numbers of tokens.

    Raises:
        UsageError: a smoothing outside [0, 1).
    """

    takes_tokens = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise UsageError(f"label_smoothing is {label_smoothing!r}, but must be at least 0 and below 1.")
        self.label_smoothing = label_smoothing

    def forward(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Return scalar losses.

        Args:
            pred: logits (B, M, P).
            target: tokens int64 (B, M), in [0, P).
            plan: whose `weight` weighs the patches.

        Returns:
            `loss`, and without gradient `constant_predictor`: the same loss of the best constant logits, those of the
            frequencies of the tokens in the batch, and `token_accuracy`, the share of patches whose token is predicted.
        """
        logged = only_logged(
            lambda: {
                "constant_predictor": plan.average(self._constant(target, plan, pred.shape[-1])),
                "token_accuracy": plan.average((pred.argmax(dim=-1) == target).float()),
            }
        )
        return {"loss": plan.average(self.errors(pred, target, plan)), **logged}

    def errors(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> Tensor:
        """Return the cross entropy of each patch, float32 (B, M); `pred`, `target` and `plan` as in `forward`."""
        with torch.autocast(pred.device.type, enabled=False):
            logits = pred.float().flatten(0, 1)  # (B * M, P)
            return functional.cross_entropy(
                logits, target.flatten(), reduction="none", label_smoothing=self.label_smoothing
            ).view_as(target)

    def _constant(self, target: Tensor, plan: MaskPlan, number: int) -> Tensor:
        spread, weight = self.label_smoothing, plan.weight
        counted = target.new_ones(target.shape) if weight is None else with_prefix(weight, target.shape[1])
        # bincount would read the largest token back from the device.
        counts = counted.new_zeros(number).scatter_add_(0, target.flatten(), counted.flatten())
        shares = counts.float() / (target.numel() if weight is None else counts.sum().float().clamp(min=1e-6))
        logs = ((1 - spread) * shares + spread / number).clamp(min=1e-9).log()
        return -(1 - spread) * logs[target] - spread * logs.mean()
