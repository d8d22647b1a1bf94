"""The plan that hides nothing."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .layout import Layout
from .plan import MaskPlan


def plan_of_all(
    grid: Layout | Mapping[str, Sequence[int]] | Sequence[int],
    batch: int,
    device: torch.device | str = "cpu",
    weight: Tensor | None = None,
) -> MaskPlan:
    """Return the plan in which every patch is visible, in raster order, and every patch is predicted.

    Padding of the layout is neither: see `MaskPlan.keep_valid`; its predictions have the weight 0.

    Args:
        grid: patches along each axis, or the layout of several streams.
        batch: B, the number of samples.
        device: of the plan.
        weight: (B, L), of the patches in the loss.
    """
    layout = Layout.of(grid)
    ids = torch.arange(layout.length, device=device).expand(batch, -1)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    if layout.valid is not None:
        mask, weight = ~layout.valid, layout.valid * (1.0 if weight is None else weight)
    return MaskPlan(layout, ids, ids, ids, mask, weight, keep_valid=layout.valid)
