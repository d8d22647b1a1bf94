"""Maps cut into windows and joined again."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import pad


def to_windows(x: Tensor, side: int) -> Tensor:
    """Cut maps (B, h, w, D) into windows (B * N, side, side, D), with zeros at the right and below where they end.

    Args:
        x: (B, h, w, D).
        side: cells along a side of a window.
    """
    right, below = -x.shape[2] % side, -x.shape[1] % side
    x = pad(x, (0, 0, 0, right, 0, below)) if right or below else x
    rows, columns = x.shape[1] // side, x.shape[2] // side
    return x.unflatten(2, (columns, side)).unflatten(1, (rows, side)).transpose(2, 3).flatten(0, 2)


def from_windows(windows: Tensor, grid: Sequence[int]) -> Tensor:
    """Join windows (B * N, side, side, D) to maps (B, h, w, D) of the grid (h, w): the inverse of `to_windows`."""
    side, (height, width) = windows.shape[1], grid
    rows, columns = -(-height // side), -(-width // side)
    x = windows.unflatten(0, (-1, rows, columns)).transpose(2, 3)  # (B, rows, side, columns, side, D)
    return x.flatten(3, 4).flatten(1, 2)[:, :height, :width]
