"""Histograms of oriented gradients of patches."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

_SMOOTH = (1, 2, 1)  # across the direction of the difference


def gradients(windows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Sobel gradients along columns and rows, each (..., h, w), of windows (..., h + 2, w + 2).

    Both fall where the values rise: left minus right, upper minus lower. The products are added one after the other,
    in the order of a convolution, because where a gradient is zero but for rounding, its angle is rounding alone: so
    every device finds the same one.
    """
    height, width = windows.shape[-2] - 2, windows.shape[-1] - 2
    across = down = torch.zeros((), device=windows.device)
    for row in range(3):
        for column in range(3):
            shifted = windows[..., row : row + height, column : column + width]
            if column != 1:
                across = across + shifted * ((1 - column) * _SMOOTH[row])
            if row != 1:
                down = down + shifted * ((1 - row) * _SMOOTH[column])
    return across, down


def orientation_histograms(across: Tensor, down: Tensor, weight: Tensor, nbins: int, cell: Sequence[int]) -> Tensor:
    """Return how much gradient of each orientation a cell holds, of unit length over the orientations.

    The orientation is unsigned, atan2(across, down) in `nbins` equal parts of a half turn, and counts for one bin only.

    Args:
        across, down: gradients (..., ph, pw).
        weight: (..., ph, pw), of each pixel.
        nbins: number of orientations.
        cell: pixels of a cell along rows and columns, which divide ph and pw.

    Returns:
        (..., nbins, ph / cell, pw / cell)
    """
    magnitude = (across**2 + down**2).sqrt() * weight
    bins = (torch.atan2(across, down) / math.pi * nbins).floor().remainder(nbins)
    rows, columns = (side // c for side, c in zip(across.shape[-2:], cell, strict=True))
    # One pass for each bin, because adding at computed places is neither quick nor repeatable on accelerators.
    sums = [
        (magnitude * (bins == number)).unflatten(-1, (columns, cell[1])).unflatten(-3, (rows, cell[0])).sum((-3, -1))
        for number in range(nbins)
    ]
    return functional.normalize(torch.stack(sums, dim=-3), dim=-3)


def gaussian_window(size: int) -> Tensor:
    """Return a Gaussian (size, size) of deviation `size // 2` around its centre, its sum 1."""
    place = torch.arange(size) - (size - 1) / 2
    curve = torch.exp(-0.5 * (place / (size // 2)) ** 2)
    return torch.outer(curve, curve) / curve.sum() ** 2
