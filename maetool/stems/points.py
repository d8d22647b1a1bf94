"""Groups of points around centres."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from maetool.annotations import Count
from maetool.errors import UsageError
from maetool.ops.geometry import format_size
from maetool.registry import STEMS
from maetool.structures import Layout

from .base import Stem


@STEMS.register_module()
class PointStem(Stem):
    """A small network for sets (PointNet) on each group of points, relative to the centre of the group.

    The centres are the coordinates of the layout. Source: Point-MAE, section 3.1 (Pang-Yatian/Point-MAE,
    `models/Point_MAE.py`).

    Args:
        num_groups: G, groups of a cloud, as trained; other numbers work too.
        in_chans: numbers of a point, of which the first `coord_dim` are coordinates.
        embed_dim: D; the encoder's.
        coord_dim: axes of space.
        widths: of the three hidden layers.
        padded: groups whose centre is not finite are padding, where clouds have different numbers of groups.

    Raises:
        UsageError: fewer channels than coordinates.
    """

    debug_arguments: ClassVar = {"widths": (8, 8, 8)}

    def __init__(
        self,
        num_groups: Count = 64,
        in_chans: Count = 3,
        embed_dim: Count = 384,
        coord_dim: Count = 3,
        widths: Sequence[Count] = (128, 256, 512),
        padded: bool = False,
    ) -> None:
        super().__init__()
        if in_chans < coord_dim:
            raise UsageError(f"in_chans is {in_chans}, but a point has {coord_dim} coordinates: set one of them.")
        self.grid, self.patch_size, self.in_chans = (num_groups,), (1,), in_chans
        self.coord_dim, self.padded = coord_dim, padded
        first, second, third = widths
        self.first_conv = _two_maps(in_chans, first, second)
        self.second_conv = _two_maps(2 * second, third, embed_dim)

    def layout_of(self, x: Tensor) -> Layout:
        """Return the centres of groups `x` (B, G, 1 + n, C), whose first point is the centre of the n others.

        Raises:
            UsageError: another shape.
        """
        if x.ndim != 4 or x.shape[2] < 2 or x.shape[3] != self.in_chans:
            raise UsageError(
                f"PointStem takes groups of points of shape (batch, groups, 1 + points, {self.in_chans}), the centre "
                f"first, but got {format_size(x.shape)}: group the points, or set in_chans."
            )
        coords, grids = x[:, :, 0, : self.coord_dim], Layout.of((x.shape[1],)).grids
        if not self.padded:
            return Layout(grids, coords)
        return Layout(grids, coords.nan_to_num(0.0, 0.0, 0.0), coords.isfinite().all(dim=2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens (B, G, D) of groups `x` (B, G, 1 + n, C), whose first point is the centre."""
        x = x.nan_to_num(0.0, 0.0, 0.0) if self.padded else x
        centres, points = x[:, :, :1, : self.coord_dim], x[:, :, 1:]
        near = torch.cat([points[..., : self.coord_dim] - centres, points[..., self.coord_dim :]], dim=3)
        near = near.flatten(0, 1).transpose(1, 2)  # (B * G, C, n)
        each = self.first_conv(near)
        together = each.amax(dim=2, keepdim=True).expand_as(each)
        tokens = self.second_conv(torch.cat([together, each], dim=1)).amax(dim=2)
        return tokens.unflatten(0, x.shape[:2])


def _two_maps(in_dim: int, hidden: int, out_dim: int) -> nn.Sequential:
    """Return two linear maps of each point, as published: convolutions with a batch norm between them."""
    return nn.Sequential(nn.Conv1d(in_dim, hidden, 1), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Conv1d(hidden, out_dim, 1))
