"""Maskers that predict other patches than those that are removed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from math import prod, sqrt
from typing import Any, Literal

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.ops import device
from maetool.ops.geometry import format_size, to_size
from maetool.ops.masking import rectangles
from maetool.ops.random import KeyedRandom
from maetool.registry import MASKERS
from maetool.structures import Bounds, Layout, MaskPlan, plan_of_counts
from maetool.structures.over_processes import may_lack

from .base import Masker

_TRIES = 20  # of a context for each number of targets that it must leave free


@MASKERS.register_module()
class AlsoVisibleMasker(Masker):
    """Predicts some visible patches too, at random, beside those that another masker removes.

    With `NearestCodeCorruption` the encoder sees their nearest codes. Source: CCViT (Cakeyan/CCViT_Public), with 20 of
    196 patches. A mask that is given wins, and then nothing visible is predicted.

    Args:
        masker: config or module of the masker.
        number: visible patches of each sample that are predicted.

    Raises:
        UsageError: a number that is not positive, or a masker that learns, or that predicts visible patches itself.
    """

    part_registries = {"masker": MASKERS}
    takes_padding = False

    def __init__(self, masker: Any, number: int = 20) -> None:
        built = MASKERS.build(masker)
        super().__init__(built.mask_ratio)
        if type(number) is not int or number < 1:
            raise UsageError(f"number is {number!r}, but must be a number of visible patches, at least 1.")
        if hasattr(built, "loss") or isinstance(built, AlsoVisibleMasker):
            reason = "learns from what it alone predicts" if hasattr(built, "loss") else "predicts visible patches too"
            raise UsageError(
                f"{type(built).__name__} {reason}, so that AlsoVisibleMasker cannot use it: use another masker."
            )
        self.masker, self.number = built, number
        self.needs, self.unit = built.needs, built.unit

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, float]:
        """Return the arguments of the small form for `--debug`."""
        return {"number": 1}

    def num_keep(self, grid: Sequence[int]) -> int:
        """Return how many patches stay visible.

        Raises:
            UsageError: fewer than are to be predicted.
        """
        return self._enough(self.masker.num_keep(grid))

    def _enough(self, kept: int) -> int:
        if kept < self.number:
            raise UsageError(
                f"{self.number} visible patches are to be predicted, but only {kept} stay visible: set `number` lower."
            )
        return kept

    def plan(self, rng: KeyedRandom, layout: Layout, weight: Tensor | None = None, **clues: Any) -> MaskPlan:
        """Return the plan of the masker, with more patches to predict.

        Raises:
            UsageError: the masker keeps different numbers of patches, or fewer than are to be predicted.
        """
        plan = self.masker.plan(rng, layout, weight, **clues)
        if plan.blank is not None or plan.keep_valid is not None:
            raise UsageError(
                f"{type(self.masker).__name__} keeps different numbers of patches, but AlsoVisibleMasker needs equal "
                "ones: use another masker."
            )
        self._enough(plan.num_keep)
        order = rng.order(plan.num_keep).argsort(dim=1)[:, : self.number]
        ids = torch.cat([plan.ids_predict, plan.ids_keep.gather(1, order)], dim=1).sort(dim=1).values
        return replace(plan, ids_predict=ids, weight=None if weight is None else weight.gather(1, ids))


@MASKERS.register_module()
class MultiBlockMasker(Masker):
    """Predicts some blocks of the image, each by itself, from a large block without them.

    Blocks may overlap. A context that leaves too little is drawn again, and after 20 draws it may overlap the last
    block, after 20 more the last two, and so on. Source: I-JEPA (facebookresearch/ijepa, `src/masks/multiblock.py`),
    which cuts the contexts of a batch to the shortest; here they are padded.

    Args:
        blocks: number of blocks to predict.
        scale: range of a block's share of the patches.
        aspect: range of its height over its width. Scale and aspect are drawn with one number, as published.
        context_scale: range of the share of the context before the blocks are taken out of it; it is square.
        min_keep: patches that the context must have more than.
        per: each "batch" draws the size of its blocks, as published, or each "sample".

    Raises:
        UsageError: ranges that make no sense.
    """

    takes_padding = False

    def __init__(
        self,
        blocks: int = 4,
        scale: Sequence[float] = (0.15, 0.2),
        aspect: Sequence[float] = (0.75, 1.5),
        context_scale: Sequence[float] = (0.85, 1.0),
        min_keep: int = 10,
        per: Literal["batch", "sample"] = "batch",
    ) -> None:
        super().__init__(0.5)
        for name, limits in {"scale": scale, "context_scale": context_scale}.items():
            if len(limits) != 2 or not 0 < limits[0] <= limits[1] <= 1:
                raise UsageError(f"{name} is {limits!r}, but must be a range of shares above 0 and at most 1.")
        if len(aspect) != 2 or not 0 < aspect[0] <= aspect[1]:
            raise UsageError(f"aspect is {aspect!r}, but must be a range of height over width, such as (0.75, 1.5).")
        if blocks < 1 or min_keep < 0 or per not in ("batch", "sample"):
            raise UsageError(
                f"blocks is {blocks!r}, min_keep {min_keep!r} and per {per!r}, but must be at least 1, at least 0, and "
                '"batch" or "sample".'
            )
        self.blocks, self.min_keep, self.per = blocks, min_keep, per
        self.scale, self.aspect = (scale[0], scale[1]), (aspect[0], aspect[1])
        self.context_scale = context_scale[0], context_scale[1]

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, float]:
        """Return the arguments of the small form for `--debug`, on whose grids a context has few patches."""
        return {"min_keep": min(arguments["min_keep"], 2)}

    def num_keep(self, grid: Sequence[int]) -> int:
        """Return about how many patches the context has; each sample has its own number.

        Raises:
            UsageError: a grid that is not two-dimensional, or too small for the context.
        """
        h, w = to_size(tuple(grid), "grid")
        if _smallest(self.context_scale, (h, w)) <= self.min_keep:
            raise UsageError(
                f"A context of more than {self.min_keep} patches does not fit a grid of {format_size(grid)}: set "
                "min_keep lower."
            )
        return max(1, int(h * w * sum(self.context_scale) / 2 * (1 - self.scale[1]) ** self.blocks))

    def plan(self, rng: KeyedRandom, layout: Layout, weight: Tensor | None = None, **clues: Any) -> MaskPlan:
        """Return the plan: a group for each block, and the context in raster order.

        Raises:
            UsageError: see `num_keep`.
        """
        grid = to_size(layout.grid, "grid")
        self.num_keep(grid)
        share = rng.uniform(2)  # of the blocks and of the context
        share = share[:1].expand_as(share) if self.per == "batch" else share
        sides = _sides(share[:, 0], self.scale, self.aspect, grid)
        targets = self._placed(rng, sides, grid, self.blocks)  # bool (B, blocks, L)
        context = self._context(rng, _sides(share[:, 1], self.context_scale, (1.0, 1.0), grid), targets, grid)
        size = sides[0] * sides[1]  # (B,)
        exact = device.reading_is_free(size)  # elsewhere the largest that there is, because reading would wait
        number = int(size.max()) if exact else _largest(self.scale, self.aspect, grid)
        ids = targets.int().argsort(dim=2, descending=True, stable=True)[:, :, :number]  # (B, blocks, m), ascending
        asked = torch.arange(number, device=ids.device) < size[:, None, None]
        ids, order = ids.sort(dim=2)
        asked = asked.expand_as(ids).gather(2, order).flatten(1)
        own = torch.ones_like(asked, dtype=torch.float32) if weight is None else weight.gather(1, ids.flatten(1))
        group = torch.arange(self.blocks, device=ids.device)[:, None].expand_as(ids)
        counts: dict[str, int | Tensor] = {"keep": context.sum(dim=1), "predict": 1, "blank": 0}
        bounds = Bounds(1, _largest(self.context_scale, (1.0, 1.0), grid), 1)
        plan = plan_of_counts((~context).float(), layout, counts, bounds=bounds)
        ragged = weight is not None or may_lack(asked, together=True)
        return replace(
            plan,
            ids_predict=ids.flatten(1),
            weight=own * asked if ragged else None,
            group=group.flatten(1),
        )

    def _placed(self, rng: KeyedRandom, sides: tuple[Tensor, Tensor], grid: Sequence[int], number: int) -> Tensor:
        """Return `number` blocks of each sample at random places, bool (B, number, L); none touches the last row."""
        height, width = (side[:, None].expand(-1, number).flatten() for side in sides)
        place = rng.uniform(2, number).double()
        top = (place[:, 0].flatten() * (grid[0] - height).clamp(min=1)).long()
        left = (place[:, 1].flatten() * (grid[1] - width).clamp(min=1)).long()
        return rectangles(top, left, height, width, grid).flatten(1).view(-1, number, prod(grid))

    def _context(self, rng: KeyedRandom, sides: tuple[Tensor, Tensor], targets: Tensor, grid: Sequence[int]) -> Tensor:
        """Return the first context that is large enough, bool (B, L)."""
        tries = self._placed(rng, sides, grid, _TRIES * (self.blocks + 1))  # (B, N, L)
        free = torch.stack([~targets[:, :number].any(dim=1) for number in range(self.blocks, 0, -1)], dim=1)
        free = torch.cat(
            [free, torch.ones_like(free[:, :1])], dim=1
        )  # (B, blocks + 1, L): at last nothing is left free
        tries = tries & free.repeat_interleave(_TRIES, dim=1)
        first = (tries.sum(dim=2) > self.min_keep).int().argmax(dim=1)  # (B,)
        return tries[torch.arange(len(tries), device=tries.device), first]


def _sides(
    share: Tensor, scale: Sequence[float], aspect: Sequence[float], grid: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return height and width int64 (B,) of blocks, smaller than the grid along both axes."""
    area = ((scale[0] + share.double() * (scale[1] - scale[0])) * prod(grid)).long()
    ratio = aspect[0] + share.double() * (aspect[1] - aspect[0])
    height, width = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    return height.clamp(1, max(1, grid[0] - 1)), width.clamp(1, max(1, grid[1] - 1))


def _smallest(scale: Sequence[float], grid: tuple[int, int]) -> int:
    """Return the number of patches of the smallest square block of `_sides`."""
    side = max(1, round(sqrt(int(scale[0] * prod(grid)))))
    return min(side, max(1, grid[0] - 1)) * min(side, max(1, grid[1] - 1))


@cache
def _largest(scale: tuple[float, float], aspect: tuple[float, float], grid: tuple[int, int]) -> int:
    """Return the number of patches that no block of `_sides` exceeds."""
    length, spread, most = prod(grid), scale[1] - scale[0], 1
    for area in range(int(scale[0] * length), int(scale[1] * length) + 1):
        shares = [(edge / length - scale[0]) / spread if spread else float(edge > area) for edge in (area, area + 1)]
        low, high = (aspect[0] + min(max(share, 0.0), 1.0) * (aspect[1] - aspect[0]) for share in shares)
        # A little more than the ratio at either end, for the rounding of the draw.
        height, width = round(sqrt(area * high) + 1e-6), round(sqrt(area / low) + 1e-6)
        most = max(most, min(max(height, 1), max(1, grid[0] - 1)) * min(max(width, 1), max(1, grid[1] - 1)))
    return most
