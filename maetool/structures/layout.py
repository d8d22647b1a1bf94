"""Where the tokens of a batch lie: streams of tokens in one index."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from maetool.errors import UsageError
from maetool.ops.geometry import format_size

ONLY = "image"  # the name of the stream of a batch that is one tensor


class Bounds(NamedTuple):
    """Between which numbers those of the samples of a batch lie.

    On an accelerator plans are padded to the bounds, so that no number is read back, for which a program would have to
    wait, and so that shapes are the same in every step. On a CPU they are padded to the longest sample.

    Attributes:
        fewest, most: places of a sample that enter the encoder.
        predicted: most patches of a sample that are predicted.
    """

    fewest: int
    most: int
    predicted: int


@dataclass(frozen=True, eq=False)
class Layout:
    """The streams of tokens of a batch, which share one flat index in their order.

    Attributes:
        grids: name of a stream to its tokens along each axis: `{"image": (14, 14)}`, `{"clip": (8, 14, 14)}`,
            `{"rgb": (14, 14), "depth": (14, 14)}`, `{"points": (64,)}`. Inside a stream the index runs in C order; L is
            the number of tokens of all streams.
        coords: float (B, L, k), where the tokens lie, for what no grid says: points, dates. Or None.
        valid: bool (B, L), False = padding, where samples differ in length. Or None.
    """

    grids: Mapping[str, tuple[int, ...]]
    coords: Tensor | None = None
    valid: Tensor | None = None

    @classmethod
    def of(cls, where: "Layout | Mapping[str, Sequence[int]] | Sequence[int]") -> "Layout":
        """Return a layout itself, or that of streams of these grids, or of one stream of this grid.

        Args:
            where: a layout, a mapping from streams to their grids, or the grid of the only stream, such as (14, 14).
        """
        if isinstance(where, Layout):
            return where
        grids = where if isinstance(where, Mapping) else {ONLY: where}
        return cls({name: tuple(grid) for name, grid in grids.items()})

    @property
    def grid(self) -> tuple[int, ...]:
        """The grid of the only stream.

        Raises:
            UsageError: there are several.
        """
        if len(self.grids) != 1:
            raise UsageError(
                f"The tokens lie in {len(self.grids)} streams ({', '.join(self.grids)}), but this part works on one "
                "grid: use a part for several streams, or let it work on `plan.only(stream)`."
            )
        return next(iter(self.grids.values()))

    @property
    def lengths(self) -> dict[str, int]:
        """The number of tokens of each stream."""
        return {name: prod(grid) for name, grid in self.grids.items()}

    @property
    def length(self) -> int:
        """L, the number of tokens of all streams."""
        return sum(self.lengths.values())

    @property
    def slices(self) -> dict[str, slice]:
        """The part of the flat index that each stream has."""
        ends = list(accumulate(self.lengths.values()))
        return {name: slice(end - n, end) for (name, n), end in zip(self.lengths.items(), ends, strict=True)}

    def only(self, stream: str) -> "Layout":
        """Return the layout of one stream.

        Raises:
            UsageError: there is no such stream.
        """
        if stream not in self.grids:
            raise UsageError(f"There is no stream {stream!r}, only {', '.join(self.grids)}: name one of these.")
        place = self.slices[stream]
        coords, valid = (None if value is None else value[:, place] for value in (self.coords, self.valid))
        return Layout({stream: self.grids[stream]}, coords, valid)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Layout":
        """Return the layout with `change` applied to each of its tensors, whose first axis is the batch."""
        coords, valid = (None if value is None else change(value) for value in (self.coords, self.valid))
        return Layout(self.grids, coords, valid)

    def matches(self, other: "Layout") -> bool:
        """Return whether the layout `other` has the same grids in the same order; names and padding may differ."""
        return list(self.grids.values()) == list(other.grids.values())

    def __str__(self) -> str:
        grids = [format_size(grid) for grid in self.grids.values()]
        names = [f"{name} " if len(grids) > 1 else "" for name in self.grids]
        return " and ".join(name + grid for name, grid in zip(names, grids, strict=True))


def tensors_of(batch: Any) -> list[Tensor]:
    """Return the tensors of a batch, which is one tensor or a mapping of them."""
    return list(batch.values()) if isinstance(batch, Mapping) else [batch]


def joined(layouts: Sequence[Layout], name: str, default: float | bool) -> Tensor | None:
    """Return the `coords` (B, L, k) or `valid` (B, L) of all layouts in a row; None where no layout has any.

    Args:
        layouts: of the streams.
        name: "coords" or "valid".
        default: value for a layout without any.
    """
    values: list[Any] = [getattr(layout, name) for layout in layouts]
    present = [value for value in values if value is not None]
    if not present:
        return None
    width = max(value.shape[2] for value in present) if name == "coords" else None
    filled = []
    for layout, value in zip(layouts, values, strict=True):
        if value is None:
            shape = (len(present[0]), layout.length, *([] if width is None else [width]))
            value = present[0].new_full(shape, default)
        filled.append(value if width is None else pad(value, (0, width - value.shape[2]), value=default))
    return torch.cat(filled, dim=1)
