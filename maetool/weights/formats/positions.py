"""The decoder's table of positions, which checkpoints that version 0.1 wrote do not hold."""

from collections.abc import Mapping

from torch import Tensor

from maetool.ops.pos_embed import sincos_pos_embed
from maetool.positions import grid_in_file

_TABLE, _ENCODER, _WIDTH = "decoder.pos_embed", "encoder.pos_embed", "decoder.mask_token"


def with_fixed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the decoder's fixed position table to a state dict under maetool's names, if it lacks one.

    The grid is that of the encoder's positions: the grid whose fixed table they equal, else a square. Nothing is added
    without a decoder, or if the grid is unknown.
    """
    positions, token = state.get(_ENCODER), state.get(_WIDTH)
    grid = None if positions is None else grid_in_file(positions)
    if _TABLE in state or grid is None or token is None:
        return dict(state)
    return {**state, _TABLE: sincos_pos_embed(token.shape[-1], grid, 1)}
