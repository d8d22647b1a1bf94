"""Masks with structure on the grid: blocks, coarse units, regular patterns."""

from collections.abc import Sequence
from math import ceil, log, prod

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.geometry import count_kept, format_size, to_size
from maetool.ops.masking import enlarge, rectangles
from maetool.ops.random import KeyedRandom
from maetool.registry import MASKERS

from .base import Masker


def _check_aspect(aspect: Sequence[float]) -> tuple[float, float]:
    if len(aspect) != 2 or not 0 < aspect[0] <= aspect[1]:
        raise UsageError(f"aspect is {aspect!r}, but must be a range of height over width, such as (0.3, 3.33).")
    return aspect[0], aspect[1]


@MASKERS.register_module()
class BlockMasker(Masker):
    """Removes rectangles of random size and place until the count is reached, exactly on every sample.

    Each rectangle adds at least one patch and never too many; the batch draws its next rectangle at once. A sample that
    drew `patience` rectangles in a row that did not fit is filled up at random, as in BEiT v2; without patience it
    draws on, as in CAE. Source: microsoft/unilm, `beit2/masking_generator.py`; Atten4Vis/CAE,
    `furnace/masking_generator.py`.

    Args:
        mask_ratio, predict_ratio: see `Masker`.
        min_patches: smallest area that is drawn, in patches.
        aspect: range of height over width, uniform in its logarithm.
        attempts: most rectangles that are drawn for a sample; what is left then is filled at random. One sample in ten
            thousand of BEiT v2's (75 of 196) needs more than 48, and one in a thousand of CAE's (98 of 196) more than
            120.
        patience: draws in a row that may fail; None, any number.

    Raises:
        UsageError: arguments that make no sense, or a grid that is not two-dimensional.
    """

    def __init__(
        self,
        mask_ratio: float = 0.4,
        predict_ratio: float | None = None,
        min_patches: int = 16,
        aspect: Sequence[float] = (0.3, 1 / 0.3),
        attempts: int = 48,
        patience: int | None = 10,
    ) -> None:
        super().__init__(mask_ratio, predict_ratio)
        if min_patches < 1 or attempts < 1 or (patience is not None and patience < 1):
            raise UsageError(
                f"min_patches is {min_patches}, attempts {attempts} and patience {patience}, but all must be at least "
                "1 (patience may be None)."
            )
        self.min_patches, self.aspect = min_patches, _check_aspect(aspect)
        self.attempts, self.patience = attempts, attempts if patience is None else patience

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...]) -> Tensor:
        """Return 1 to 2 inside the rectangles and 0 to 1 outside, (B, L): the random part decides what fills up."""
        target = prod(grid) - self.num_keep(grid)
        removed = torch.zeros(len(rng), *to_size(grid, "grid"), dtype=torch.bool, device=rng.device)
        failed = torch.zeros(len(rng), dtype=torch.int64, device=rng.device)  # in a row
        for draw in rng.uniform(self.attempts, 4).unbind(1):
            budget = target - removed.flatten(1).sum(dim=1)  # (B,)
            block = self._rectangle(draw, budget, grid) & ~removed
            added = block.flatten(1).sum(dim=1)
            taken = (added > 0) & (added <= budget) & (failed < self.patience)
            removed |= block & taken[:, None, None]
            failed = torch.where(taken, 0, failed + 1)
        return removed.flatten(1) + rng.order(prod(grid))

    def _rectangle(self, draw: Tensor, budget: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Return one rectangle a sample, bool (B, h, w), of uniform numbers (B, 4); none that would span the grid."""
        area = self.min_patches + draw[:, 0] * (budget - self.min_patches)
        low, high = (log(side) for side in self.aspect)
        aspect = (low + (high - low) * draw[:, 1]).exp()
        height = (area * aspect).sqrt().round().long()
        width = (area / aspect).sqrt().round().long()
        fits = (height < grid[0]) & (width < grid[1])
        height, width = height * fits, width * fits
        top, left = (_place(draw[:, 2], grid[0], height), _place(draw[:, 3], grid[1], width))
        return rectangles(top, left, height, width, grid)


def _place(draw: Tensor, side: int, length: Tensor) -> Tensor:
    """Return where a piece (B,) of a side begins, each possible place alike, from uniform numbers (B,)."""
    return (draw.double() * (side + 1 - length)).long()


@MASKERS.register_module()
class InverseBlockMasker(Masker):
    """Keeps one block visible, rolled around the edges of the grid, and removes the rest.

    The block is as high and as wide as its aspect asks for, rounded up, and then cut to the count of visible patches in
    raster order, so that its last row may be short or missing. The count of *removed* patches is rounded down: 127 of
    196 at 65 %. Source: CAPI (facebookresearch/capi, `data.py`).

    Args:
        mask_ratio, predict_ratio: see `Masker`.
        aspect: range of the block's height over width, uniform in its logarithm, as far as the block fits the grid.
        roll: move the block over the edges of the grid, so that all places are visible equally often; without it the
            block stays inside, and the centre of the grid is visible most often.

    Raises:
        UsageError: arguments that make no sense.
    """

    takes_padding = False

    def __init__(
        self,
        mask_ratio: float = 0.65,
        predict_ratio: float | None = None,
        aspect: Sequence[float] = (0.5, 2.0),
        roll: bool = True,
    ) -> None:
        super().__init__(mask_ratio, predict_ratio)
        self.aspect, self.roll = _check_aspect(aspect), roll

    def num_keep(self, grid: Sequence[int]) -> int:
        """Return how many patches of a grid stay visible, rounded up."""
        return count_kept(prod(grid), self.mask_ratio, round_up=True)

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...]) -> Tensor:
        """Return the place of each patch in its block, row by row, from -L on, and 0 to 1 elsewhere, (B, L)."""
        h, w = to_size(grid, "grid")
        height, width = self._sides(rng.uniform(1)[:, 0], h, w)  # (B,)
        top, left = rng.uniform(2).unbind(1)
        top = _place(top, h, torch.ones_like(height) if self.roll else height)
        left = _place(left, w, torch.ones_like(width) if self.roll else width)
        row = (torch.arange(h, device=rng.device) - top[:, None]) % h  # (B, h), rolled
        column = (torch.arange(w, device=rng.device) - left[:, None]) % w  # (B, w)
        place = row[:, :, None] * width[:, None, None] + column[:, None, :]  # (B, h, w)
        inside = (column < width[:, None])[:, None, :] & (place < self.num_keep((h, w)))
        return torch.where(inside, place - h * w, rng.order(h, w)).flatten(1)

    def _sides(self, draw: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
        """Return height and width int64 (B,) of the block before it is cut, from uniform numbers (B,)."""
        visible = self.num_keep((h, w))
        fitting = log(visible / w**2), log(h**2 / visible)  # aspects whose block is at most as wide and as high
        low, high = (min(max(log(side), fitting[0]), fitting[1]) for side in self.aspect)
        aspect = (low + (high - low) * draw.double()).exp()
        height = (visible * aspect).sqrt().ceil().clamp(ceil(visible / w), h).long()
        width = (visible / aspect).sqrt().ceil().clamp(ceil(visible / h), w).long()
        return height, width


@MASKERS.register_module()
class AlignedMasker(Masker):
    """Removes whole units of several patches at random, such as SimMIM's of 32 pixels.

    Source: SimMIM (microsoft/SimMIM, `data/data_simmim.py`), whose count of units is rounded up.

    Args:
        mask_ratio, predict_ratio: see `Masker`.
        unit: patches of a unit along each axis, or one number for all.

    Raises:
        UsageError: a unit that does not divide the grid, or a ratio that leaves no unit visible.
    """

    takes_padding = False

    def __init__(
        self, mask_ratio: float = 0.6, predict_ratio: float | None = None, unit: int | Sequence[int] = 2
    ) -> None:
        super().__init__(mask_ratio, predict_ratio)
        self.unit = unit

    def num_keep(self, grid: Sequence[int]) -> int:
        """Return the patches of the units that stay visible."""
        unit, coarse = self._units(grid)
        return count_kept(prod(coarse), self.mask_ratio) * prod(unit)

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...]) -> Tensor:
        """Return one random number for each unit (B, L); the sort is stable, so units stay whole."""
        unit, coarse = self._units(grid)
        order = rng.order(prod(coarse)).argsort(dim=1).argsort(dim=1)  # ranks, so that no two units are equal
        return enlarge(order.view(-1, *coarse), unit).flatten(1).float()

    def _units(self, grid: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        unit = to_size(self.unit, "unit", rank=len(grid))
        if any(g % u for g, u in zip(grid, unit, strict=True)):
            raise UsageError(
                f"Units of {format_size(unit)} patches do not divide a grid of {format_size(grid)}: choose a unit "
                "that divides it, or another image size."
            )
        return unit, tuple(g // u for g, u in zip(grid, unit, strict=True))


@MASKERS.register_module()
class GridMasker(Masker):
    """Keeps the patches of a regular pattern: the grid-wise sampling of the MAE ablation, for any ratio.

    At 75 % it keeps one of every 2 x 2 patches; which one, each sample draws. Other ratios keep the patches where a
    regular lattice, the fractional parts of two irrational steps, is lowest. Source: MAE, table 1f.
    """

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...]) -> Tensor:
        """Return the lattice (B, L), shifted at random."""
        places = torch.meshgrid(*(torch.arange(side, device=rng.device) for side in grid), indexing="ij")
        shifts = rng.integers(2**20, len(grid))  # (B, rank)
        shifted = [p.flatten() + shifts[:, i, None] for i, p in enumerate(places)]  # rank x (B, L)
        if abs(1 - self.mask_ratio - 0.5 ** len(grid)) < 1e-6:
            kept = torch.stack([s % 2 == 0 for s in shifted]).all(dim=0)
            return 1 - kept.float() + 0.5 * rng.order(prod(grid))
        # The plastic number's powers spread points evenly in two dimensions (Roberts' sequence R2), and so on for more.
        steps = [_plastic(len(grid)) ** -(i + 1) for i in range(len(grid))]
        products = [s.double() * step for s, step in zip(shifted, steps, strict=True)]
        return torch.stack(products).sum(dim=0).remainder(1.0).float()


def _plastic(rank: int) -> float:
    """Return the positive root of x**(rank + 1) = x + 1."""
    x = 2.0
    for _ in range(50):
        x = (1 + x) ** (1 / (rank + 1))
    return x
