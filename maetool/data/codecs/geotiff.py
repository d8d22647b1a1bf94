"""What a TIFF says of the place of its pixels on the earth (OGC GeoTIFF 1.1), for windows of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

_SCALE, _TIEPOINTS, _TRANSFORMATION = 33550, 33922, 34264
_KEYS = (34735, 34736, 34737)
_GDAL = (42112, 42113)  # metadata, and the value without data
_ORIENTATION = 274
_RASTER_TYPE, _IS_POINT = 1025, 2  # pixels are points at their centres
# Of TIFF 6.0, as tifffile takes them.
_ASCII, _SHORT, _DOUBLE = 2, 3, 12
Tag = tuple[int, int, int | None, Any, bool]


@dataclass(frozen=True)
class WindowTags:
    """Tags that windows of a TIFF have, too.

    Attributes:
        fixed: those that say the same of every window.
        placed: values of those that name places, by number.
        is_point: whether whole numbers are the centres of pixels, not their corners.
    """

    fixed: list[Tag]
    placed: dict[int, np.ndarray]
    is_point: bool

    def of(self, top: int, left: int, down: float = 1.0, across: float = 1.0) -> list[Tag]:
        """Return the tags of a window, as tifffile writes them.

        Args:
            top, left: its first pixel.
            down, across: rows and columns of the full size in one of the window's level.
        """
        # Column and row of the full size of the window's first pixel.
        column, row = left * across, top * down
        if self.is_point:
            column, row = column + (across - 1) / 2, row + (down - 1) / 2
        placed = {}
        for number, values in self.placed.items():
            if number == _SCALE:
                placed[number] = values * (across, down, 1)
            elif number == _TIEPOINTS:
                placed[number] = (values.reshape(-1, 6) - (column, row, 0, 0, 0, 0)) / (across, down, 1, 1, 1, 1)
            else:
                matrix = values.reshape(4, 4).copy()
                matrix[:, 3] += matrix[:, 0] * column + matrix[:, 1] * row
                placed[number] = matrix * (across, down, 1, 1)
        flat = {number: tuple(np.ravel(values).tolist()) for number, values in placed.items()}
        return [*self.fixed, *((number, _DOUBLE, len(values), values, True) for number, values in flat.items())]


def tags_of_window(page: Any) -> WindowTags:
    """Return the tags that windows of a page of tifffile share with it."""
    fixed: list[Tag] = []
    for number, kind in ((_ORIENTATION, _SHORT), *zip(_KEYS, (_SHORT, _DOUBLE, _ASCII), strict=True)):
        value = _value(page, number)
        if value is not None:
            count = None if isinstance(value, str) else np.size(value)
            fixed.append((number, kind, count, value, True))
    fixed += [
        (number, _ASCII, None, str(value), True) for number in _GDAL if (value := _value(page, number)) is not None
    ]
    placed = {}
    for number, multiple in ((_SCALE, 3), (_TIEPOINTS, 6), (_TRANSFORMATION, 16)):
        values = np.ravel(np.asarray(_value(page, number) or (), np.float64))
        if values.size and values.size % multiple == 0:
            placed[number] = values if number != _TRANSFORMATION else values[:16]
    keys = np.ravel(_value(page, _KEYS[0]) or ()).tolist()
    entries = {keys[i]: keys[i + 3] for i in range(4, len(keys) - 3, 4)}
    return WindowTags(fixed, placed, entries.get(_RASTER_TYPE) == _IS_POINT)


def _value(page: Any, number: int) -> Any:
    tag = page.tags.get(number)
    return None if tag is None else tag.value
