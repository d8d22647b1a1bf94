"""The losses of several streams in one index."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.registry import HEADS
from maetool.structures import MaskPlan
from maetool.structures.logged import only_logged
from maetool.structures.over_processes import mean_of_patches


@HEADS.register_module()
class StreamHead(nn.Module):
    """The error of each patch by a head, of as many numbers as its stream has; then the mean over all patches.

    Args:
        head: config or module of a head that gives the errors of patches, such as `RegressionHead`.
        out_dims: name of each stream to its P; the target's, see `StreamTarget`.

    Raises:
        UsageError: a head without errors, or a target of one stream.
    """

    part_registries = {"head": HEADS}
    takes_tokens = False

    def __init__(self, head: Any, out_dims: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.head = HEADS.build(head)
        if not callable(getattr(self.head, "errors", None)):
            raise UsageError(f"{type(self.head).__name__} gives no error of each patch: use RegressionHead.")
        if out_dims is None:
            raise UsageError("StreamHead is for several streams, but the target is of one: use StreamTarget.")
        self.out_dims = dict(out_dims)

    def forward(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Return scalar losses.

        Args:
            pred: predictions (B, M, P), of which a stream uses its first numbers.
            target: numbers (B, M, P), zero where a stream has fewer.
            plan: over all streams; its `weight` weighs the patches.

        Returns:
            `loss`, and without gradient `constant_predictor`, that of the mean target of each stream.
        """
        logged = only_logged(
            lambda: {"constant_predictor": plan.average(self.errors(self._constant(target, plan), target, plan))}
        )
        return {"loss": plan.average(self.errors(pred, target, plan)), **logged}

    def errors(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> Tensor:
        """Return the error of each predicted patch, float32 (B, M); `pred`, `target` and `plan` as in `forward`."""
        errors = torch.zeros(plan.ids_predict.shape, device=pred.device)
        for inside, width in self._streams(plan):
            own = self.head.errors(pred[..., :width], target[..., :width], plan)
            errors = torch.where(inside, own, errors)
        return errors

    def _streams(self, plan: MaskPlan) -> list[tuple[Tensor, int]]:
        """Return for each stream which predictions are of it, bool (B, M), and its P."""
        ids, places = plan.ids_predict, plan.layout.slices
        return [((ids >= places[n].start) & (ids < places[n].stop), width) for n, width in self.out_dims.items()]

    def _constant(self, target: Tensor, plan: MaskPlan) -> Tensor:
        constant = torch.zeros_like(target, dtype=torch.float32)
        for inside, _ in self._streams(plan):
            mean = mean_of_patches(target.float(), inside if plan.weight is None else inside * plan.weight)
            constant = torch.where(inside[..., None], mean, constant)
        return constant
