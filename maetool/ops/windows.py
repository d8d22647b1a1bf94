"""Maps cut into windows and joined again."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .geometry import count_steps, fill_up, is_symbolic, to_size


def to_windows(x: Tensor, side: int | Sequence[int]) -> Tensor:
    """Cut maps (B, h, w, D) into windows (B * N, *side, D), with zeros at the right and below where they end.

    Args:
        x: (B, h, w, D).
        side: cells along each side of a window, one number or (rows, columns).
    """
    height, width = to_size(side, "side")
    x = fill_up(x, (height, width), first=1)
    rows, columns = x.shape[1] // height, x.shape[2] // width
    return x.unflatten(2, (columns, width)).unflatten(1, (rows, height)).transpose(2, 3).flatten(0, 2)


def from_windows(windows: Tensor, grid: Sequence[int]) -> Tensor:
    """Join windows (B * N, *side, D) to maps (B, h, w, D) of the grid (h, w): the inverse of `to_windows`."""
    (height, width), sides = grid, windows.shape[1:3]
    rows, columns = count_steps(height, sides[0]), count_steps(width, sides[1])
    x = windows.unflatten(0, (-1, rows, columns)).transpose(2, 3)  # (B, rows, side, columns, side, D)
    x = x.flatten(3, 4).flatten(1, 2)
    if not is_symbolic(grid):
        return x[:, :height, :width]
    # Of a slice `torch.export` asks whether it is all of x, and fixes the answer in the graph.
    for axis, side in enumerate((height, width), start=1):
        x = x.index_select(axis, torch.arange(side, device=x.device))
    return x
