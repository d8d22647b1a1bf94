"""Rotary positions: queries and keys are turned by angles that grow with the coordinates of their tokens."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from maetool.errors import UsageError

Pairing = Literal["axis", "across"]


class Rope(NamedTuple):
    """Cosines and sines of the angles by which the first W channels of each head are turned.

    Attributes:
        cos, sin: (B or 1, 1, N, W).
        sections: parts of W channels in which the first half is paired with the second.
    """

    cos: Tensor
    sin: Tensor
    sections: int

    def turn(self, x: Tensor) -> Tensor:
        """Return queries or keys x (B, heads, N, d) turned, in their own dtype; channels from W on stay."""
        width = self.cos.shape[-1]
        turned, rest = x.split([width, x.shape[-1] - width], dim=-1)
        first, second = turned.unflatten(-1, (self.sections, 2, -1)).unbind(-2)
        partner = torch.stack([-second, first], dim=-2).flatten(-3)
        turned = (turned * self.cos + partner * self.sin).to(x.dtype)
        return turned if not rest.shape[-1] else torch.cat([turned, rest], dim=-1)

    def take(self, ids: Tensor) -> "Rope":
        """Return the angles of the tokens `ids` (B, M)."""
        index = ids[:, None, :, None].expand(-1, -1, -1, self.cos.shape[-1])
        cos, sin = (value.expand(len(ids), -1, -1, -1).gather(2, index) for value in (self.cos, self.sin))
        return Rope(cos, sin, self.sections)

    def still(self, number: int) -> "Rope":
        """Return as many angles for each of `number` tokens that are not turned."""
        shape = (1, 1, number, self.cos.shape[-1])
        return Rope(self.cos.new_ones(shape), self.sin.new_zeros(shape), self.sections)

    def with_prefix(self, number: int) -> "Rope":
        """Return the angles of `number` tokens that are not turned, then these."""
        rows = (0, 0, number, 0)
        return Rope(pad(self.cos, rows, value=1.0), pad(self.sin, rows), self.sections)


def rotary(
    coords: Tensor, head_dim: int, base: float = 100.0, pairing: Pairing = "axis", frequencies: Tensor | None = None
) -> Rope:
    """Return the angles of tokens at some coordinates, on k axes.

    Each axis has W / k channels, n = floor(d / (2 k)) frequencies twice; channels that are left over do not turn.

    Args:
        coords: (B or 1, N, k), in cells of the grid.
        head_dim: d.
        base: the frequencies are base**(-j / n), j = 0..n-1, in radians a cell.
        pairing: "axis", the two channels of a pair belong to one axis and turn as a vector (CroCo v2,
            naver/croco, `models/pos_embed.py`); "across", channel i belongs with i + W / 2, of another axis, which is
            no rotation, but what the weights of facebookresearch/capi were trained with.
        frequencies: (n,), instead of those of `base`.

    Raises:
        UsageError: heads too narrow for so many axes.
    """
    rank = coords.shape[-1]
    number = head_dim // (2 * rank)
    if number < 1:
        raise UsageError(
            f"Rotary positions on {rank} axes need heads of at least {2 * rank} channels, but they have {head_dim}: "
            "use fewer heads, or a larger embed_dim."
        )
    if frequencies is None:
        steps = torch.arange(number, device=coords.device, dtype=torch.float32)
        frequencies = base ** (-steps / number)
    angles = coords.float()[..., None] * frequencies  # (B, N, k, n)
    angles = torch.cat([angles, angles], dim=-1).flatten(-2)[:, None]  # (B, 1, N, W)
    return Rope(angles.cos(), angles.sin(), rank if pairing == "axis" else 1)


def boxed_coords(
    grid: Sequence[int], num_prefix_tokens: int, hidden: Tensor | None = None, device: torch.device | None = None
) -> Tensor:
    """Return where a prefix and the cells of a picture lie in the unit square, float32 (B or 1, T + L, 2).

    The cells of an axis lie from 0 to 1, both included. The prefix lies at equal steps on the edge of the box around
    the cells that are visible: along the first column from the top, then along the last row, and so on.
    Source: CAPI (facebookresearch/capi, `model.py`).

    Args:
        grid: (h, w).
        num_prefix_tokens: T.
        hidden: bool (B, L), True = this cell is not visible; None, all are.
        device: where the result is made.

    Raises:
        UsageError: the grid is not one of pictures.
    """
    if len(grid) != 2:
        raise UsageError(f"Positions in a box are for pictures, but the grid has {len(grid)} axes: use 'rotary'.")
    axes = [torch.arange(side, device=device, dtype=torch.float32) / max(1, side - 1) for side in grid]
    cells = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)[None]  # (1, L, 2)
    low, high = cells.amin(dim=1, keepdim=True), cells.amax(dim=1, keepdim=True)
    if hidden is not None:
        low = cells.masked_fill(hidden[..., None], torch.inf).amin(dim=1, keepdim=True)  # (B, 1, 2)
        high = cells.masked_fill(hidden[..., None], -torch.inf).amax(dim=1, keepdim=True)
    step = torch.arange(num_prefix_tokens, device=device, dtype=torch.float32) * (4 / max(1, num_prefix_tokens))
    around = torch.stack([1.5 - (step - 1.5).abs(), 1.5 - (step - 2.5).abs()], dim=-1).clamp(0, 1)  # (T, 2)
    return torch.cat([low + around * (high - low), cells.expand(len(low), -1, -1)], dim=1)


def grid_coords(grid: Sequence[int], own: Sequence[int], device: torch.device | None = None) -> Tensor:
    """Return where the cells of a grid lie in cells of the grid `own`, float32 (1, L, k).

    Both grids cover the same image, and a cell lies at its middle: cell i of n is at (i + 0.5) * n0 / n - 0.5.

    Args:
        grid: the cells along each axis.
        own: the grid whose cells are the unit.
        device: where the result is made.
    """
    axes = [
        (torch.arange(side, device=device, dtype=torch.float32) + 0.5) * (trained / side) - 0.5
        for side, trained in zip(grid, own, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)[None]
