"""The plan that hides nothing."""

from collections.abc import Mapping, Sequence

import torch

from .layout import Layout
from .plan import MaskPlan


def plan_of_all(
    grid: Layout | Mapping[str, Sequence[int]] | Sequence[int], batch: int, device: torch.device | str = "cpu"
) -> MaskPlan:
    """Return the plan in which every patch is visible, in raster order, and every patch is predicted.

    Args:
        grid: patches along each axis, or the layout of several streams.
        batch: B, the number of samples.
        device: of the plan.
    """
    layout = Layout.of(grid)
    ids = torch.arange(layout.length, device=device).expand(batch, -1)
    return MaskPlan(layout, ids, ids, ids, torch.zeros_like(ids, dtype=torch.bool))
