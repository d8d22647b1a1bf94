"""Telling patches apart."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import pad

from maetool.annotations import Count, FromZero, Positive
from maetool.errors import UsageError
from maetool.ops.device import reading_is_free
from maetool.ops.precision import wide
from maetool.registry import HEADS
from maetool.structures import MaskPlan
from maetool.structures.logged import only_logged


@HEADS.register_module()
class ContrastiveHead(nn.Module):
    """Each prediction must be nearest in angle to the target of its own patch among those of other patches (InfoNCE).

    Computed in float32 whatever the autocast. Source: Oord et al., "Representation learning with contrastive predictive
    coding" (2018); Latent MIM's patch discrimination is `within="image"` (yibingwei-1/LatentMIM).

    Args:
        out_dim: P, of predictions and targets.
        temperature: of the softmax; the cosines are divided by it.
        within: the patches that a prediction is compared with: those of its "image", or those of the "batch", in
            training of all processes.
        standardise: bring each number of the predictions to mean 0 and deviation 1 over the patches of an image first,
            so that what all patches share does not count (Latent MIM).
        projection: map predictions to so many numbers, and targets by a second map, before they are compared; None
            compares them as they are.
        memory: number of targets of earlier batches that a prediction is compared with too (MoCo); for "batch" only.

    Attributes:
        contrasts: True: a perfect prediction costs something too, as much as other targets are alike.

    Raises:
        UsageError: an unknown choice, or a memory where predictions are compared within an image.
    """

    takes_tokens = False
    contrasts = True
    bank: Tensor

    def __init__(
        self,
        out_dim: int,
        temperature: Positive = 0.2,
        within: Literal["image", "batch"] = "image",
        projection: Count | None = None,
        standardise: bool = False,
        memory: FromZero = 0,
    ) -> None:
        super().__init__()
        if within not in ("image", "batch") or (memory and within == "image"):
            raise UsageError(f'within is {within!r}, but must be "image" or "batch", and for a memory "batch".')
        self.memory = memory
        if memory:  # random directions until there are targets
            self.register_buffer("bank", functional.normalize(torch.randn(memory, projection or out_dim), dim=-1))
        self.temperature, self.within, self.standardise = temperature, within, standardise
        self.project_pred: nn.Module = nn.Linear(out_dim, projection) if projection else nn.Identity()
        self.project_target: nn.Module = nn.Linear(out_dim, projection) if projection else nn.Identity()

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {"memory": 16} if arguments["memory"] else {}

    def forward(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Return scalar losses.

        Args:
            pred: predictions (B, M, P).
            target: features (B, M, P).
            plan: whose `weight` weighs the patches.

        Returns:
            `loss`, and without gradient `patch_accuracy`, the share of the patches whose own target is the nearest.
        """
        logits, labels, keys = self._compared(pred, target, plan)
        if self.training and self.memory:
            self._remember(keys)
        logged = only_logged(lambda: {"patch_accuracy": plan.average(_own_is_nearest(logits, labels))})
        return {"loss": plan.average(_cross_entropy(logits, labels)), **logged}

    def errors(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> Tensor:
        """Return the cross entropy of each patch, float32 (B, M); `pred`, `target` and `plan` as in `forward`."""
        return _cross_entropy(*self._compared(pred, target, plan)[:2])

    @torch.no_grad()
    def _remember(self, keys: Tensor) -> None:
        bank = torch.cat([keys.to(self.bank.dtype), self.bank])[: self.memory]
        self.bank.copy_(torch.where(keys.isfinite().all(), bank, self.bank))

    def _compared(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits of N patches for each prediction, the number of its own, and the targets compared with.

        They are (B, M, N), int64 (B, M) and (N, P), or (B, M, P) within an image.
        """
        with torch.autocast(pred.device.type, enabled=False):
            queries = self.project_pred(wide(pred))
            queries = functional.normalize(_standardised(queries, plan) if self.standardise else queries, dim=-1)
            keys = functional.normalize(self.project_target(target.to(queries.dtype)), dim=-1)  # (B, M, P)
        batch, number = pred.shape[:2]
        labels = torch.arange(number, device=pred.device).expand(batch, -1)
        counts = torch.ones(batch, number, dtype=torch.bool, device=pred.device)
        counts = counts if plan.weight is None else plan.weight > 0  # padding is no patch to be told from
        if self.within == "image":
            logits = queries @ keys.transpose(1, 2) / self.temperature
            return logits.masked_fill(~(counts[:, None] | _own(labels, number)), -torch.inf), labels, keys
        keys, counts, first = keys.flatten(0, 1), counts.flatten(), 0
        if self.training:  # in validation the processes have different numbers of batches
            keys, counts, first = _gathered(keys, counts)
        labels = labels + first + number * torch.arange(batch, device=pred.device)[:, None]
        logits = queries @ keys.T / self.temperature  # (B, M, N)
        logits = logits.masked_fill(~(counts | _own(labels, len(keys))), -torch.inf)
        if self.memory:
            logits = torch.cat([logits, queries @ self.bank.clone().T / self.temperature], dim=-1)
        return logits, labels, keys


def _standardised(tokens: Tensor, plan: MaskPlan) -> Tensor:
    """Return tokens (B, M, P) less their mean over those of an image that count, over their deviation (unbiased)."""
    counts = torch.ones_like(tokens[..., :1]) if plan.weight is None else (plan.weight > 0)[..., None].to(tokens.dtype)
    number = counts.sum(dim=1, keepdim=True)
    centred = tokens - (tokens * counts).sum(dim=1, keepdim=True) / number.clamp(min=1)
    variance = (centred.square() * counts).sum(dim=1, keepdim=True) / (number - 1).clamp(min=1)
    return centred / (variance.clamp(min=1e-12).sqrt() + 1e-4)


def _own(labels: Tensor, number: int) -> Tensor:
    """Return where each row's own patch is, bool (B, M, number)."""
    return labels[..., None] == torch.arange(number, device=labels.device)


def _own_is_nearest(logits: Tensor, labels: Tensor) -> Tensor:
    nearest = logits.argmax(dim=-1) if logits.numel() else labels
    return (nearest == labels).float()


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)


def _gathered(keys: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return keys (N, P) and flags (N,) of all processes, with gradients, and the number of the first own one.

    On accelerators, where numbers are not read, the processes must have equally many, as plans there give them.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return keys, counts, 0
    from torch.distributed.nn.functional import all_gather  # here, because it is for several processes only

    numbers = [len(keys)] * dist.get_world_size()
    if reading_is_free(keys):  # plans are padded to the longest sample of each process
        each = [torch.zeros(1, dtype=torch.int64, device=keys.device) for _ in numbers]
        dist.all_gather(each, torch.full_like(each[0], len(keys)))
        numbers = [int(number) for number in each]
    spare = max(numbers) - len(keys)
    counts, keys = pad(counts, (0, spare)), pad(keys, (0, 0, 0, spare))
    flags = [torch.empty_like(counts) for _ in numbers]
    dist.all_gather(flags, counts)
    parts = [
        (value[:number], flag[:number]) for value, flag, number in zip(all_gather(keys), flags, numbers, strict=True)
    ]
    values, known = zip(*parts, strict=True)
    return torch.cat(values), torch.cat(known), sum(numbers[: dist.get_rank()])
