"""The palettes of the masks of a data set, which must agree on the colour of each class."""

from dataclasses import dataclass, field

import numpy as np

from maetool.data.codecs.image_size import open_by_pillow
from maetool.data.codecs.images import read_bytes
from maetool.errors import UsageError

Colour = tuple[int, int, int]


@dataclass
class Palettes:
    """The colours of the values that occur in some masks with palettes.

    Programs that make a palette of the colours in each picture number them anew, so that one value is another class in
    another file.
    """

    _colour_of: dict[int, tuple[Colour, str]] = field(default_factory=dict)
    _value_of: dict[Colour, tuple[int, str]] = field(default_factory=dict)

    def add(self, path: str, values: np.ndarray) -> None:
        """Compare the palette of a mask with those before.

        Args:
            path: the mask.
            values: of its pixels, int64 (H, W).

        Raises:
            UsageError: one value has two colours, or one colour two values.
        """
        palette = _palette_of(path)
        seen = np.unique(values)
        colours = [(int(r), int(g), int(b)) for r, g, b in palette[seen[seen < len(palette)]]]
        if len(set(colours)) < len(colours):  # made for something else than to be looked at
            return
        for value, colour in zip(seen.tolist(), colours, strict=False):
            first, other = self._colour_of.setdefault(value, (colour, path))
            if first != colour:
                raise _refused(f"the value {value} has the colour {first} in {other}, but {colour} in {path}")
            number, other = self._value_of.setdefault(colour, (value, path))
            if number != value:
                raise _refused(f"the colour {colour} has the value {number} in {other}, but {value} in {path}")


def _palette_of(path: str) -> np.ndarray:
    """Return the colours of the values from 0, uint8 (P, 3); none for a mask without a palette."""
    with open_by_pillow(read_bytes(path)) as picture:
        colours = picture.getpalette("RGB") if picture.mode == "P" else None
    return np.array(colours or [], np.uint8).reshape(-1, 3)


def _refused(reason: str) -> UsageError:
    return UsageError(
        f"The palettes of the masks differ, so that a value is not one class: {reason}. Write all masks with one "
        "palette, or grey with the number of the class; if the values are right, save the masks without palettes."
    )
