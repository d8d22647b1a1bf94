"""Classification where a teacher's logits, made sharp and kept from collapsing, are the shares of the classes."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.annotations import Count, FromZero, Positive
from maetool.errors import UsageError
from maetool.layers import Prototypes
from maetool.ops.sinkhorn import sinkhorn
from maetool.registry import HEADS
from maetool.structures import MaskPlan
from maetool.structures.over_processes import mean_of_patches, with_prefix

from .soft_labels import SoftLabelHead


@HEADS.register_module()
class DistillationHead(nn.Module):
    """The cross entropy with the shares of the classes that a teacher's logits say.

    The classes have no names, so that all images could get the same one. Against this collapse help a low temperature
    of the target together with a centre that is subtracted (DINO, iBOT), equal numbers of images for each class
    (Sinkhorn), and a loss that spreads the mean prediction over the classes (MSN). Computed in float32 whatever the
    autocast.
    Source: facebookresearch/msn, `src/losses.py`; gkakogeorgiou/attmask, `main_attmask.py`.

    Args:
        out_dim: P, of predictions and targets.
        temperature: the predicted logits are divided by it.
        target_temperature: the target's logits are divided by it.
        start_temperature: where the target's temperature begins; None, where it ends.
        warmup: share of training, in [0, 1], in which it moves linearly from there.
        prototypes: K: predictions and targets are embeddings, whose logits are the cosines to K learned prototypes, the
            same for both; None, they are logits.
        centre: share that stays in each step of the mean of the target's logits, which is subtracted from them; None
            subtracts none.
        sinkhorn: iterations that even out the classes over the batch of all processes; 0, none.
        mean_entropy: weight of log K less the entropy of the mean prediction, over the batch of all processes.

    Attributes:
        contrasts: True: a perfect prediction costs something too, the entropy of the target.

    Raises:
        UsageError: a share outside its range.
    """

    takes_tokens = False
    contrasts = True
    target_temperature: Tensor
    target_centre: Tensor

    def __init__(
        self,
        out_dim: Count,
        temperature: Positive = 0.1,
        target_temperature: Positive = 0.04,
        start_temperature: Positive | None = None,
        warmup: float = 0.0,
        prototypes: Count | None = None,
        centre: float | None = None,
        sinkhorn: FromZero = 0,
        mean_entropy: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= warmup <= 1 or not 0 <= (centre or 0.0) < 1 or not mean_entropy >= 0:
            raise UsageError(
                f"warmup is {warmup!r}, centre {centre!r} and mean_entropy {mean_entropy!r}, but must be from 0 to 1, "
                "from 0 to below 1 or None, and at least 0."
            )
        if (prototypes or out_dim) < 2:
            raise UsageError(
                f"DistillationHead compares shares of {prototypes or out_dim} class, which are all alike: make "
                f"{'prototypes' if prototypes else 'the out_dim of the target'} at least 2."
            )
        self.labels = SoftLabelHead(temperature)
        self.end, self.begin, self.warmup = target_temperature, start_temperature or target_temperature, warmup
        self.centre, self.iterations, self.mean_entropy = centre, sinkhorn, mean_entropy
        self.prototypes = Prototypes(out_dim, prototypes) if prototypes else None
        self.register_buffer("target_temperature", torch.tensor(self.begin if warmup else self.end))
        if centre is not None:
            self.register_buffer("target_centre", torch.zeros(prototypes or out_dim))
        if self.prototypes is not None:
            nn.init.uniform_(self.prototypes.weight, -(out_dim**-0.5), out_dim**-0.5)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {} if arguments["prototypes"] is None else {"prototypes": 16}

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Move the target's temperature; called after each optimiser step.

        Args:
            model: not read.
            progress: share of training that is over, in [0, 1].
        """
        share = min(1.0, progress / self.warmup) if self.warmup else 1.0
        self.target_temperature.fill_(self.begin + (self.end - self.begin) * share)

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay: the prototypes, as in MSN."""
        return set() if self.prototypes is None else {"prototypes.weight"}

    def forward(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Return scalar losses.

        Args:
            pred: logits (B, M, P), or embeddings if there are prototypes.
            target: the teacher's, as `pred`.
            plan: whose `weight` weighs the patches.

        Returns:
            What `SoftLabelHead` does, and with `mean_entropy` that loss too, without gradient.
        """
        logits, aim = self._logits(pred), self._logits(target).detach()
        losses = self.labels(logits, self._shares(aim, plan), plan)
        if self.training and self.centre is not None:
            self._move_centre(aim, plan, self.centre)
        if not self.mean_entropy:
            return losses
        spread = self._spread(logits, plan)
        return {**losses, "loss": losses["loss"] + self.mean_entropy * spread, "mean_entropy": spread.detach()}

    def errors(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> Tensor:
        """Return the cross entropy of each patch, float32 (B, M); `pred`, `target` and `plan` as in `forward`."""
        return self.labels.errors(self._logits(pred), self._shares(self._logits(target), plan), plan)

    def _logits(self, values: Tensor) -> Tensor:
        with torch.autocast(values.device.type, enabled=False):
            return values.float() if self.prototypes is None else self.prototypes(values.float())

    @torch.no_grad()
    def _shares(self, logits: Tensor, plan: MaskPlan) -> Tensor:
        """Return what the teacher's logits (B, M, K) say, shares with the sum 1; 0 of what has no weight."""
        logits = logits if self.centre is None else logits - self.target_centre
        logs = (logits / self.target_temperature).log_softmax(dim=-1)
        if not self.iterations or not logs.numel():
            return logs.exp()
        if plan.weight is not None:  # padding is no sample
            logs = logs.masked_fill(with_prefix(plan.weight, logs.shape[1])[..., None] == 0, -torch.inf)
        return sinkhorn(logs.flatten(0, 1), self.iterations, together=self.training).view_as(logs)

    @torch.no_grad()
    def _move_centre(self, logits: Tensor, plan: MaskPlan, stays: float) -> None:
        mean = mean_of_patches(logits, plan.weight, together=True)
        moved = torch.lerp(mean, self.target_centre, stays)
        self.target_centre.copy_(torch.where(mean.isfinite().all(), moved, self.target_centre))

    def _spread(self, logits: Tensor, plan: MaskPlan) -> Tensor:
        """Return log K less the entropy of the mean prediction."""
        shares = functional.softmax(logits / self.labels.temperature, dim=-1)
        mean = mean_of_patches(shares, plan.weight, self.training)  # validations have different numbers of batches
        return math.log(len(mean)) + torch.xlogy(mean, mean).sum()
