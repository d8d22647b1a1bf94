"""Masks and weights at other resolutions, and rectangles on a grid."""

from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor

from maetool.errors import UsageError


def to_grid(values: Tensor, grid: Sequence[int], name: str, pool: Literal["any", "mean"]) -> Tensor:
    """Return values (B, *grid) of patches or of pixels, given as (B, L), (B, *grid) or (B, *size).

    Args:
        values: float; `size` is a multiple of the grid along every axis.
        grid: patches along each axis.
        name: what it is, for the message.
        pool: what becomes of the pixels of a patch: their largest value, or their mean.

    Raises:
        UsageError: another shape.
    """
    grid = tuple(grid)
    if values.shape[1:] in ((prod(grid),), grid):
        return values.reshape(-1, *grid)
    size = values.shape[1:]
    if len(size) != len(grid) or any(s % g for s, g in zip(size, grid, strict=True)):
        raise UsageError(
            f"The {name} has the shape {tuple(values.shape)}, but must be (batch, {prod(grid)}), "
            f"(batch, {', '.join(map(str, grid))}), or in pixels a multiple of that."
        )
    pairs = [side for s, g in zip(size, grid, strict=True) for side in (g, s // g)]
    cells = values.reshape(-1, *pairs)
    inside = tuple(range(2, 2 + 2 * len(grid), 2))
    return cells.amax(dim=inside) if pool == "any" else cells.mean(dim=inside)


def rectangles(top: Tensor, left: Tensor, height: Tensor, width: Tensor, grid: Sequence[int]) -> Tensor:
    """Return which cells lie in each rectangle, bool (B, h, w), from corners and sides int64 (B,).

    Args:
        top, left: row and column of the upper left cell of each rectangle, int64 (B,).
        height, width: cells, int64 (B,).
        grid: (h, w).
    """
    rows = torch.arange(grid[0], device=top.device) - top[:, None]
    columns = torch.arange(grid[1], device=top.device) - left[:, None]
    in_rows, in_columns = (rows >= 0) & (rows < height[:, None]), (columns >= 0) & (columns < width[:, None])
    return in_rows[:, :, None] & in_columns[:, None, :]


def enlarge(cells: Tensor, unit: Sequence[int]) -> Tensor:
    """Repeat each cell of (B, *coarse) `unit` times along its axis: (B, *grid).

    Args:
        cells: (B, *coarse).
        unit: repetitions along each axis.
    """
    for axis, times in enumerate(unit, start=1):
        cells = cells.repeat_interleave(times, dim=axis)
    return cells


def gaussian_lowpass(noise: Tensor, sigma: Tensor) -> Tensor:
    """Convolve pictures (N, H, W) with Gaussians of deviation `sigma` (N,), in cells, with periodic boundary.

    Args:
        noise: float (N, H, W).
        sigma: standard deviations in cells, (N,).
    """
    height, width = noise.shape[1:]
    rows = torch.fft.fftfreq(height, device=noise.device)[:, None]
    columns = torch.fft.rfftfreq(width, device=noise.device)[None, :]
    # The transform of a Gaussian is a Gaussian: exp(-2 (pi sigma f)^2).
    response = torch.exp((-2 * (torch.pi * sigma[:, None, None]) ** 2) * (rows**2 + columns**2))
    return torch.fft.irfft2(torch.fft.rfft2(noise) * response, s=(height, width))
