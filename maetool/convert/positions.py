"""The decoder's table of positions: other projects store it, here it is computed where it is the fixed one."""

from collections.abc import Mapping

from torch import Tensor

from maetool.ops.pos_embed import grid_of_table, sincos_pos_embed, square_grid

_TABLE, _ENCODER, _WIDTH = "decoder.pos_embed", "encoder.pos_embed", "decoder.mask_token"


def without_fixed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict, under our names, without the decoder's table if that is the fixed one of its grid."""
    table = state.get(_TABLE)
    fixed = table is not None and grid_of_table(table, num_prefix_tokens=1) is not None
    return {name: value for name, value in state.items() if not (fixed and name == _TABLE)}


def with_fixed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict, under our names, with the decoder's table: the inverse of `without_fixed`.

    The grid is that of the encoder's positions: the one whose fixed table they are, else a square. Nothing is added
    where there is no decoder, or nothing that says the grid.
    """
    positions, token = state.get(_ENCODER), state.get(_WIDTH)
    grid = None if positions is None else grid_of_positions(positions)
    if _TABLE in state or grid is None or token is None:
        return dict(state)
    return {**state, _TABLE: sincos_pos_embed(token.shape[-1], grid, 1)}


def grid_of_positions(table: Tensor) -> tuple[int, int] | None:
    """Return the grid (h, w) of a table (1, 1 + L, D): the one whose fixed table it is, else a square; None if neither.

    Args:
        table: with one prefix row, that of the class token.
    """
    return grid_of_table(table, num_prefix_tokens=1) or square_grid(table.shape[1], 1)
