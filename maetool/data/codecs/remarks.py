"""What to say of a set of images before training: choices that its files ask for, and that nobody made."""

import logging
from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor

from .arrays import is_array
from .deep import is_deep
from .jpeg import read_header
from .options import ReadOptions
from .orientation import UPRIGHT, orientation_of
from .tiff import stated_nodata

_logger = logging.getLogger("maetool")


class Traits(NamedTuple):
    """What about a file may ask for a choice.

    Attributes:
        floats: its values became float32, because they are of more than 8 bits.
        deep: it is a photograph of more than 8 bits.
        highest: its largest value.
        nodata: what the file says to mark pixels without data; None where it says nothing.
        turned: its EXIF says that it is to be turned or mirrored.
    """

    floats: bool
    deep: bool
    highest: float
    nodata: float | None
    turned: bool


def traits_of(data: bytes, image: Tensor) -> Traits:
    """Return the traits of a file from its content `data`, and the image (C, H, W) that it gave."""
    array = is_array(data)
    deep = not array and is_deep(data)
    return Traits(
        image.dtype == torch.float32,
        deep,
        float(image.max()) if deep else 0.0,
        stated_nodata(data) if array else None,
        orientation_of(data, read_header(data)) != UPRIGHT,
    )


class Remarks:
    """Counts in some files of a set what is worth a line.

    Args:
        options: how they are read.
    """

    def __init__(self, options: ReadOptions) -> None:
        self.options, self.seen = options, 0
        self.counts: Counter[str] = Counter()
        self.highest, self.nodata = 0.0, 0.0

    def note(self, data: bytes, image: Tensor) -> None:
        """Take in a file: its content `data`, and the image (C, H, W) that it gave."""
        self.add(traits_of(data, image))

    def add(self, traits: Traits) -> None:
        """Take in the traits of a file."""
        self.seen += 1
        self.highest = max(self.highest, traits.highest)
        gaps = traits.nodata is not None and not self.options.gaps
        self.nodata = traits.nodata if gaps and traits.nodata is not None else self.nodata
        exif = traits.turned and not self.options.exif
        self.counts.update(floats=traits.floats, deep=traits.deep, nodata=gaps, exif=exif)

    def log(self, root: str) -> None:
        """Log a line for each thing that was seen in the images of `root`."""
        for line in self.lines():
            # Formatted here: MMEngine's logger shows warnings of the same template only once.
            _logger.warning(f"{root}: {line}")

    def lines(self) -> list[str]:
        """Return a sentence for each thing that was seen."""
        of, lines = f"of {self.seen:,} files tried", []
        if turned := self.counts["exif"]:
            lines.append(
                f"{turned:,} {of} carry an EXIF rotation, which is not applied: boxes and masks drawn on the pictures "
                "as viewers show them lie elsewhere; set dataset.exif=True to turn the pictures."
            )
        if (deep := self.counts["deep"]) and not self.options.eight_bit:
            lines.append(
                f"{deep:,} {of} are photographs of more than 8 bits, whose values are kept as stored (up to "
                f"{self.highest:g}): give mean and std in that unit (`maetool check` prints them), or set "
                "dataset.eight_bit=True for the upper eight bits."
            )
        if 0 < self.counts["floats"] < self.seen:
            lines.append(
                f"{self.counts['floats']:,} {of} hold other than 8-bit values, the others 0 to 255: all become float32 "
                "with the values as stored, in two units if they mean the same."
            )
        if gaps := self.counts["nodata"]:
            lines.append(
                f"{gaps:,} {of} say that {self.nodata:g} marks pixels without data, which are taken for values: set "
                'dataset.nodata="auto" to leave them out.'
            )
        return lines
