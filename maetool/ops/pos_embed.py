"""Fixed sine-cosine position embeddings."""

from collections.abc import Sequence
from functools import lru_cache
from math import isqrt, prod

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from maetool.errors import UsageError


def sincos_pos_embed(embed_dim: int, grid: Sequence[int], num_prefix_tokens: int = 0) -> Tensor:
    """Return the float32 table (1, T + L, D) of a grid, its prefix rows zero.

    The channels are shared equally by the axes, the last axis first: for (h, w), the first half encodes the column and
    the second the row. Each share holds sin(x / 10000**(k / n)) and then cos(...), k = 0..n-1, where x counts cells.
    Source: MAE, `util/pos_embed.py` (facebookresearch/mae), whose numbers it gives on a square grid.

    Raises:
        UsageError: `embed_dim` is not a multiple of 2 x the number of axes.
    """
    if embed_dim % (2 * len(grid)):
        raise UsageError(
            f"embed_dim is {embed_dim}, but sine-cosine positions on a grid of {len(grid)} axes need a multiple of "
            f"{2 * len(grid)}: take {round(embed_dim / (2 * len(grid))) * 2 * len(grid)}."
        )
    return _table(embed_dim, tuple(grid), num_prefix_tokens).clone()


def sincos_for(table: Tensor, own: tuple[int, ...], grid: tuple[int, ...], num_prefix_tokens: int = 0) -> Tensor:
    """Return the table (1, T + L, D) of `grid`: `table` itself, which is for the grid `own`, or one like it.

    Another grid's is the same tensor at every call: do not change it.
    """
    if grid == own:
        return table
    return _shared(table.shape[2], grid, num_prefix_tokens, table.device, table.dtype)


def positions_on(
    table: Tensor, own: tuple[int, ...], grid: tuple[int, ...], num_prefix_tokens: int = 0, learned: bool = False
) -> Tensor:
    """Return the table (1, T + L, D) of `grid` by a part that has `table` for the grid `own`: resized where learned.

    A fixed one is computed; see `sincos_for`.
    """
    if learned and grid != own:
        return resize_pos_embed(table, own, grid, num_prefix_tokens)
    return sincos_for(table, own, grid, num_prefix_tokens)


def grid_of_table(table: Tensor, num_prefix_tokens: int = 0) -> tuple[int, int] | None:
    """Return the grid (h, w) whose fixed table `table` (1, T + L, D) is, to the precision of halves; None if none."""
    length, width = table.shape[1] - num_prefix_tokens, table.shape[2]
    sides = range(1, length + 1 if width % 4 == 0 else 1)
    for grid in ((side, length // side) for side in sides if length % side == 0):
        fixed = sincos_pos_embed(width, grid, num_prefix_tokens)
        if torch.allclose(table.float().cpu(), fixed, atol=1e-3):
            return grid
    return None


@lru_cache(maxsize=16)
def _shared(
    embed_dim: int, grid: tuple[int, ...], num_prefix_tokens: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    return sincos_pos_embed(embed_dim, grid, num_prefix_tokens).to(device, dtype)


@lru_cache(maxsize=16)
def _table(embed_dim: int, grid: tuple[int, ...], num_prefix_tokens: int) -> Tensor:
    bands = embed_dim // (2 * len(grid))
    omega = 1.0 / 10000 ** (np.arange(bands, dtype=np.float64) / bands)
    axes = np.meshgrid(*(np.arange(side, dtype=np.float64) for side in grid), indexing="ij")
    angles = [axis.reshape(-1, 1) * omega for axis in reversed(axes)]
    table = np.concatenate([part for angle in angles for part in (np.sin(angle), np.cos(angle))], axis=1)
    table = np.concatenate([np.zeros((num_prefix_tokens, embed_dim)), table])
    # NumPy, because the cache must not catch the device of a `with torch.device(...)` around the first call.
    return torch.from_numpy(table).float()[None]


def resize_pos_embed(table: Tensor, old: Sequence[int], new: Sequence[int], num_prefix_tokens: int = 0) -> Tensor:
    """Resize a table (1, T + L, D) of positions from the grid `old` to `new`, its T prefix rows untouched.

    Bicubic in float32 without antialiasing, as in MAE's fine-tuning (`util/pos_embed.py`, facebookresearch/mae).
    """
    prefix, cells = table[:, :num_prefix_tokens], table[:, num_prefix_tokens:]
    picture = cells.float().transpose(1, 2).unflatten(2, tuple(old))  # (1, D, h, w)
    picture = functional.interpolate(picture, size=tuple(new), mode="bicubic", align_corners=False)
    return torch.cat([prefix, picture.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


def square_grid(length: int, num_prefix_tokens: int = 0) -> tuple[int, int] | None:
    """Return the square grid of a table of `length` positions: beside `num_prefix_tokens`, or one for a class token."""
    for patches in (length - num_prefix_tokens, length - 1):
        side = isqrt(patches)
        if side * side == patches:
            return side, side
    return None


def fit_pos_embed(table: Tensor, old: Sequence[int], new: Sequence[int], num_prefix_tokens: int = 0) -> Tensor:
    """Return `resize_pos_embed` of a table that may have prefix rows which the new one has not: the last ones stay."""
    extra = table.shape[1] - prod(old) - num_prefix_tokens
    return resize_pos_embed(table[:, extra:], old, new, num_prefix_tokens)


def relative_positions(table: Tensor, side: int) -> Tensor:
    """Return what a table (2s - 1, d) of relative positions says about each pair on an axis of `side` cells.

    Row i of the table is for a key s - 1 - i cells after its query. A table for another side is resized linearly.
    Source: `get_rel_pos` of ViTDet (facebookresearch/detectron2, `modeling/backbone/utils.py`).

    Returns:
        (side, side, d): of the query in the first place to the key in the second.
    """
    if len(table) != 2 * side - 1:
        table = functional.interpolate(table.T[None], size=2 * side - 1, mode="linear")[0].T  # (2 * side - 1, d)
    cells = torch.arange(side, device=table.device)
    return table[cells[:, None] - cells[None, :] + side - 1]
