"""Tables of positions: fixed sine and cosine ones, and tables of any kind on another grid."""

from collections.abc import Sequence
from math import isqrt, prod

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from maetool.errors import UsageError

from .geometry import is_symbolic


def sincos_pos_embed(
    embed_dim: int,
    grid: Sequence[int],
    num_prefix_tokens: int = 0,
    rows_first: bool = False,
    stretched: bool = False,
) -> Tensor:
    """Return the float32 table (1, T + L, D) of a grid, its prefix rows zero.

    The channels are shared by the axes, the last axis first: for (h, w), the first half encodes the column and the
    second the row. Each share holds sin(x / 10000**(k / n)) and then cos(...), k = 0..n-1, where x counts cells. Where
    the D / 2 pairs of channels do not divide by the axes, those that come first have one pair more.
    Source: MAE, `util/pos_embed.py` (facebookresearch/mae), whose numbers it gives on a square grid.

    Args:
        embed_dim: D.
        grid: cells along each axis.
        num_prefix_tokens: T, rows of zeros at the front.
        rows_first: the axes share the channels in their own order, the row first (CAE).
        stretched: the n cells of an axis lie from 0 to n, and not from 0 to n - 1 (Latent MIM).

    Raises:
        UsageError: `embed_dim` is odd, or too small for a pair of channels on each axis.
    """
    rank = len(grid)
    if embed_dim % 2 or embed_dim < 2 * rank:
        raise UsageError(
            f"embed_dim is {embed_dim}, but sine-cosine positions on a grid of {rank} axes need an even number, at "
            f"least {2 * rank}: use {max(2 * rank, embed_dim + 1)}."
        )
    pairs, left = divmod(embed_dim // 2, rank)
    places = [np.arange(side) * (side / max(1, side - 1) if stretched else 1.0) for side in grid]
    axes = np.meshgrid(*places, indexing="ij")
    parts = []
    for number, axis in enumerate(axes if rows_first else reversed(axes)):
        bands = pairs + (number < left)
        angle = axis.reshape(-1, 1) * (1.0 / 10000 ** (np.arange(bands, dtype=np.float64) / bands))
        parts += [np.sin(angle), np.cos(angle)]
    return _as_table(np.concatenate(parts, axis=1), num_prefix_tokens)


def flat_pos_embed(embed_dim: int, length: int, num_prefix_tokens: int = 0) -> Tensor:
    """Return the float32 table (1, T + L, D) of the flat index of `length` places, its prefix rows zero.

    Channels 2j and 2j + 1 hold the sine and the cosine of x / 10000**(2j / D) at place x.
    Source: VideoMAE, `modeling_finetune.py` (MCG-NJU/VideoMAE).

    Args:
        embed_dim: D.
        length: L.
        num_prefix_tokens: T, rows of zeros at the front.
    """
    channel = np.arange(embed_dim)
    angle = np.arange(length, dtype=np.float64)[:, None] / 10000 ** (2 * (channel // 2) / embed_dim)
    return _as_table(np.where(channel % 2, np.cos(angle), np.sin(angle)), num_prefix_tokens)


def _as_table(cells: np.ndarray, num_prefix_tokens: int) -> Tensor:
    table = np.concatenate([np.zeros((num_prefix_tokens, cells.shape[1])), cells]).astype(np.float32)
    # Always a new tensor: a cached one would be a fake one for everybody after torch.export, or one of inference mode.
    return torch.as_tensor(table)[None]


def positions_on(table: Tensor, own: tuple[int, ...], grid: tuple[int, ...], num_prefix_tokens: int = 0) -> Tensor:
    """Return the table (1, T + L, D) of `grid` by a part that has `table` for the grid `own`.

    Fixed tables are resized as learned ones are: a cell keeps its place in the image, whatever the size of the image.
    The fixed table of a larger grid instead would say that the image has grown beyond what was seen in training.

    Args:
        table: (1, T + L0, D), for the grid `own`.
        own: the grid that the part was built for.
        grid: the grid of the batch.
        num_prefix_tokens: T.
    """
    unchanged = not is_symbolic(grid) and grid == own
    return table if unchanged else resize_pos_embed(table, own, grid, num_prefix_tokens)


def resize_pos_embed(table: Tensor, old: Sequence[int], new: Sequence[int], num_prefix_tokens: int = 0) -> Tensor:
    """Resize a table (1, T + L, D) of positions from the grid `old` to `new`, its T prefix rows untouched.

    Two axes are resized bicubically in float32 without antialiasing, as in MAE's fine-tuning (`util/pos_embed.py`,
    facebookresearch/mae); the only axis, and the first of three, linearly.

    Args:
        table: (1, T + L0, D), of the grid `old`.
        old, new: cells along each axis.
        num_prefix_tokens: T.
    """
    prefix, cells = table[:, :num_prefix_tokens], table[:, num_prefix_tokens:]
    picture = cells.float().transpose(1, 2).unflatten(2, tuple(old))  # (1, D, *old)
    if len(old) != 2:
        picture = _resize_first(picture, new[0])
    if len(old) > 1:
        frames = picture if len(old) == 2 else picture.flatten(1, 2)  # (1, D * t, h, w)
        frames = functional.interpolate(frames, size=tuple(new[-2:]), mode="bicubic", align_corners=False)
        picture = frames.unflatten(1, (picture.shape[1], -1))  # (1, D, *new), of two axes (1, D, 1, h, w)
    return torch.cat([prefix, picture.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


def _resize_first(picture: Tensor, new: int) -> Tensor:
    """Return (1, D, old, ...) as (1, D, new, ...), linearly."""
    lines = picture.movedim(2, -1).flatten(1, -2)  # (1, D * rest, old)
    lines = functional.interpolate(lines, size=new, mode="linear", align_corners=False)
    return lines.unflatten(1, (picture.shape[1], *picture.shape[3:])).movedim(-1, 2)


def fit_pos_embed(table: Tensor, old: Sequence[int], new: Sequence[int], num_prefix_tokens: int = 0) -> Tensor:
    """Return a file's table (1, T' + L', D), of the grid `old`, as one of T prefix rows and the grid `new`.

    Of its own prefix rows the first T stay, where the class token is; rows that it lacks are zero, as MAE's are.

    Args:
        table: (1, T' + L', D), as the file has it.
        old, new: cells along each axis.
        num_prefix_tokens: T.
    """
    prefix, cells = table.split([table.shape[1] - prod(old), prod(old)], dim=1)
    prefix = functional.pad(prefix[:, :num_prefix_tokens], (0, 0, 0, max(0, num_prefix_tokens - prefix.shape[1])))
    return positions_on(torch.cat([prefix, cells], dim=1), tuple(old), tuple(new), num_prefix_tokens)


def grid_of_table(table: Tensor, num_prefix_tokens: int = 0) -> tuple[int, int] | None:
    """Return the grid (h, w) whose fixed table `table` (1, T + L, D) is, to the precision of halves; None if none.

    Args:
        table: (1, T + L, D).
        num_prefix_tokens: T.
    """
    length, width = table.shape[1] - num_prefix_tokens, table.shape[2]
    if width % 2 or width < 4 or length < 1:
        return None

    def begins_as(grid: tuple[int, int]) -> bool:
        fixed = sincos_pos_embed(width, grid, num_prefix_tokens)
        return torch.allclose(table[:, : fixed.shape[1]].float().cpu(), fixed, atol=1e-3)

    if not begins_as((1, 1)):  # the first cell is the same on every grid, and no learned table has it
        return None
    grids = ((side, length // side) for side in range(1, length + 1) if length % side == 0)
    return next(filter(begins_as, grids), None)


def square_grid(length: int, num_prefix_tokens: int = 0) -> tuple[int, int] | None:
    """Return the square grid of a table of `length` positions: beside `num_prefix_tokens`, one, or none."""
    for patches in (length - num_prefix_tokens, length - 1, length):
        side = isqrt(max(0, patches))
        if side and side * side == patches:
            return side, side
    return None


def relative_positions(table: Tensor, side: int) -> Tensor:
    """Return what a table (2s - 1, d) of relative positions says about each pair on an axis of `side` cells.

    Row i of the table is for a key s - 1 - i cells after its query. A table for another side is resized.
    Source: `get_rel_pos` of ViTDet (facebookresearch/detectron2, `modeling/backbone/utils.py`).

    Returns:
        (side, side, d): of the query in the first place to the key in the second.
    """
    table = resize_relative(table, 2 * side - 1)
    cells = torch.arange(side, device=table.device)
    return table[cells[:, None] - cells[None, :] + side - 1]


def resize_relative(table: Tensor, length: int) -> Tensor:
    """Return a table (N, d) of relative positions with `length` rows, resized linearly."""
    if not is_symbolic([length]) and len(table) == length:
        return table
    return functional.interpolate(table.T[None], size=length, mode="linear")[0].T


def square_window(offsets: int) -> tuple[int, int] | None:
    """Return the square window whose pairs of cells have so many different offsets; None if there is none."""
    span = isqrt(max(0, offsets))
    return ((span + 1) // 2,) * 2 if span % 2 and span * span == offsets else None


def count_offsets(window: Sequence[int]) -> int:
    """Return how many offsets the pairs of cells of a window have: (2h - 1)(2w - 1)."""
    return prod(2 * side - 1 for side in window)


def resize_window(table: Tensor, old: Sequence[int], new: Sequence[int]) -> Tensor:
    """Return a table (N + T, heads) of the relative positions in the window `old` as one for the window `new`.

    The first N rows are of the offsets (row, column) in raster order, the others belong to a class token and stay. An
    offset of few cells nearly keeps its number, as in the fine-tuning of BEiT (`run_class_finetuning.py` of
    microsoft/unilm) and of SimMIM; computed by timm.
    """
    if tuple(old) == tuple(new):
        return table
    from timm.layers.pos_embed_rel import resize_rel_pos_bias_table  # here, because it takes long to import

    (rows, columns), shape = ([2 * side - 1 for side in window] for window in (old, new))
    cells, others = table.split([rows * columns, len(table) - rows * columns])
    # With one picture for each head timm reads the old window off the shape; a flat table it takes for a square one.
    pictures = cells.T.reshape(-1, rows, columns)
    window = new[0], new[1]
    pictures = resize_rel_pos_bias_table(pictures, window, (len(pictures), *shape))
    return torch.cat([pictures.flatten(1).T.to(table.dtype), others])
