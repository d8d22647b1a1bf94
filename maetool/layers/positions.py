"""Positions of a part: fixed or learned tables, and rotary ones."""

from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.patches import take_tokens
from maetool.ops.pos_embed import flat_pos_embed, positions_on, sincos_pos_embed
from maetool.ops.rotary import Rope, boxed_coords, grid_coords, rotary
from maetool.positions import keep_positions

PosEmbed = Literal["sincos", "sincos_rows", "stretched", "learned", "flat", "separable", "rotary", "rotary_box", "none"]
POSITIONS = ("sincos", "sincos_rows", "stretched", "learned", "flat", "separable", "rotary", "rotary_box", "none")
ROTARY = ("rotary", "rotary_box")  # which turn queries and keys, so that nothing is added
_HIGHEST, _LOWEST = 7.0, 7e-4  # frequencies of "rotary_box", in turns over the side of an image


def add_positions(
    part: Any, kind: PosEmbed, width: int, grid: Sequence[int], num_prefix_tokens: int = 0, frozen: bool = False
) -> None:
    """Give a part positions, which `positions_of` and `rope_of` return for any grid.

    - "sincos": a fixed table `pos_embed` of the coordinates, see `maetool.ops.pos_embed.sincos_pos_embed`;
    - "sincos_rows": the same table with the channels of the axes swapped, the row first (CAE);
    - "stretched": the table of "sincos" with its last cell at n of n cells, and not at n - 1 (Latent MIM);
    - "learned": the table of "sincos", learned;
    - "flat": a fixed table of the flat index, see `flat_pos_embed` (VideoMAE);
    - "separable": learned tables of the first axis, `pos_embed_temporal`, and of the others, `pos_embed_spatial`, which
      are added, and `pos_embed_class` of the prefix (facebookresearch/mae_st);
    - "rotary": none that is added; queries and keys are turned;
    - "rotary_box": the same by places in the unit square, where the prefix lies around what is visible (CAPI);
    - "none".

    On another grid tables are resized, and coordinates scaled: a cell keeps its place in the image.

    Args:
        part: gets the parameters, and `grid`.
        kind: one of these.
        width: D.
        grid: that is trained on.
        num_prefix_tokens: T.
        frozen: fixed tables are parameters without gradient, and not buffers.

    Raises:
        UsageError: an unknown kind, or separable positions on one axis.
    """
    if kind not in POSITIONS:
        raise UsageError(f"pos_embed is {kind!r}, but must be one of {', '.join(map(repr, POSITIONS))}.")
    part.grid, part.positions = tuple(grid), kind
    part.register_parameter("pos_embed", None)
    if kind == "separable":
        _add_separable(part, width, part.grid, num_prefix_tokens)
    if kind in (*ROTARY, "none", "separable"):
        return
    if kind == "flat":
        values = flat_pos_embed(width, prod(part.grid), num_prefix_tokens)
    else:
        rows_first, stretched = kind == "sincos_rows", kind == "stretched"
        values = sincos_pos_embed(width, part.grid, num_prefix_tokens, rows_first=rows_first, stretched=stretched)
    del part.pos_embed
    if frozen:
        part.pos_embed = nn.Parameter(values, requires_grad=kind == "learned")
    else:
        keep_positions(part, values, kind == "learned")


def _add_separable(part: Any, width: int, grid: tuple[int, ...], num_prefix_tokens: int) -> None:
    if len(grid) < 2:
        raise UsageError("pos_embed is 'separable', but a grid of one axis has nothing to separate: take 'learned'.")
    lengths = {"temporal": grid[0], "spatial": prod(grid[1:]), "class": num_prefix_tokens}
    for name, length in lengths.items():
        if length:
            table = nn.init.trunc_normal_(torch.empty(1, length, width), std=0.02)
            part.register_parameter(f"pos_embed_{name}", nn.Parameter(table))


def positions_of(part: Any, grid: tuple[int, ...], num_prefix_tokens: int = 0) -> Tensor | None:
    """Return the table (1, T + L, D) that a part adds on a grid; None where it adds none.

    Args:
        part: see `add_positions`.
        grid: of the tokens.
        num_prefix_tokens: T.
    """
    if part.pos_embed is not None:
        return positions_on(part.pos_embed, part.grid, grid, num_prefix_tokens)
    if part.positions != "separable":
        return None
    temporal = positions_on(part.pos_embed_temporal, part.grid[:1], grid[:1])  # (1, t, D)
    spatial = positions_on(part.pos_embed_spatial, part.grid[1:], grid[1:])  # (1, h * w, D)
    cells = (temporal[:, :, None] + spatial[:, None]).flatten(1, 2)
    return torch.cat([part.pos_embed_class, cells], dim=1) if num_prefix_tokens else cells


def positions_at(positions: Tensor | None, ids: Tensor) -> Any:
    """Return the positions (B, N, D) of some places; None where there are none.

    Args:
        positions: (1, T + L, D) or (B, T + L, D), of all places.
        ids: int64 (B, N), of the prefix and patches together.
    """
    return None if positions is None else take_tokens(positions.expand(len(ids), -1, -1), ids)


def with_positions(part: nn.Module, x: Tensor, positions: Tensor | None) -> Tensor:
    """Return tokens x (B, N, D) with their positions (1, N, D) or (B, N, D), if there are any.

    Blocks add to them, so that they have the dtype of the weights also where autocast made them narrower.

    Args:
        part: the part that has the positions; its first weight gives the dtype where there are none.
        x: (B, N, D).
        positions: (1, N, D) or (B, N, D); None where the blocks need no table.
    """
    if positions is not None:
        return x + positions
    weight = next(part.parameters(), x)
    return x.to(torch.promote_types(x.dtype, weight.dtype)) if weight.is_floating_point() else x


def rope_of(
    part: Any,
    grid: tuple[int, ...],
    head_dim: int,
    num_prefix_tokens: int = 0,
    hidden: Tensor | None = None,
    device: torch.device | None = None,
) -> Rope | None:
    """Return the rotary positions of a prefix and of all places of a grid; None where a part has none.

    Args:
        part: see `add_positions`.
        grid: of the tokens.
        head_dim: channels of a head.
        num_prefix_tokens: T; with "rotary" the prefix is not turned.
        hidden: bool (B, L), True = not visible, for the box of "rotary_box"; None, everything is visible.
        device: of the tokens.
    """
    if part.positions == "rotary":
        return rotary(grid_coords(grid, part.grid, device), head_dim).with_prefix(num_prefix_tokens)
    if part.positions != "rotary_box":
        return None
    coords = boxed_coords(grid, num_prefix_tokens, hidden, device)
    steps = torch.linspace(0, 1, max(1, head_dim // 4), device=device)
    frequencies = 2 * torch.pi * _HIGHEST * (_LOWEST / _HIGHEST) ** steps
    return rotary(coords, head_dim, pairing="across", frequencies=frequencies)


def tables_of(part: nn.Module) -> set[str]:
    """Return the names of the tables of positions that are parameters of a part, for its `no_weight_decay`."""
    return {name for name, value in part._parameters.items() if value is not None and name.startswith("pos_embed")}
