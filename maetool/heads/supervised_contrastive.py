"""Predictions of one label close together, and those of others apart."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.annotations import Count, Positive
from maetool.ops.groups import in_groups
from maetool.registry import HEADS
from maetool.structures import MaskPlan
from maetool.structures.logged import only_logged


@HEADS.register_module()
class SupervisedContrastiveHead(nn.Module):
    """Each prediction must be nearer in angle to those of the same label than to others.

    Minus the mean log probability of the predictions of the same label, in a softmax over the cosines with all others;
    one without such costs nothing. Computed in float32 whatever the autocast. Source: Khosla et al., "Supervised
    contrastive learning" (2020), equation 2; of patches MixedAE's homologous contrast, with `SampleTarget`.

    Args:
        temperature: the cosines are divided by it.
        images: predictions are compared within so many images in a row of the batch, of which the last ones may be
            fewer; None compares all of the batch.

    Attributes:
        takes_tokens: True, the target is labels.
        contrasts: True: a perfect prediction costs something too.
    """

    takes_tokens = True
    contrasts = True

    def __init__(self, temperature: Positive = 0.25, images: Count | None = None) -> None:
        super().__init__()
        self.temperature, self.images = temperature, images

    def forward(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Return scalar losses.

        Args:
            pred: predictions (B, M, P).
            target: labels int64 (B, M).
            plan: whose `weight` weighs the predictions; those of weight 0 are compared with none.

        Returns:
            `loss`, and without gradient `constant_predictor`, the loss of predictions that are all alike.
        """
        logged = only_logged(
            lambda: {"constant_predictor": plan.average(self.errors(torch.zeros_like(pred[..., :1]), target, plan))}
        )
        return {"loss": plan.average(self.errors(pred, target, plan)), **logged}

    def errors(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> Tensor:
        """Return the loss of each prediction, float32 (B, M); `pred`, `target` and `plan` as in `forward`."""
        if not pred.numel():
            return pred.float().sum(dim=2)
        counts = torch.ones_like(target, dtype=torch.bool) if plan.weight is None else plan.weight > 0
        number = self.images or len(pred)
        with torch.autocast(pred.device.type, enabled=False):
            unit = functional.normalize(pred.float(), dim=-1)
            groups = zip(*(in_groups(each, number) for each in (unit, target, counts)), strict=True)
            errors = [self._of_group(*(each.flatten(1, 2) for each in group)) for group in groups]
        return torch.cat([each.view(-1, target.shape[1]) for each in errors])

    def _of_group(self, unit: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """Return the losses (G, N) of predictions (G, N, P) of length 1, labels (G, N) and those that count (G, N)."""
        itself = torch.eye(unit.shape[1], dtype=torch.bool, device=unit.device)
        others = counts[:, None] & ~itself  # (G, N, N)
        same = others & (labels[:, :, None] == labels[:, None])
        logits = (unit @ unit.transpose(1, 2) / self.temperature).masked_fill(~others, -1e9)
        logs = logits.log_softmax(dim=-1).masked_fill(~same, 0.0)
        return -logs.sum(dim=-1) / same.sum(dim=-1).clamp(min=1)
