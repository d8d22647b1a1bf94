"""What to say of a set of images before training: choices that its files ask for, and that nobody made."""

import logging
from collections import Counter

import torch
from torch import Tensor

from .arrays import is_array
from .deep import is_deep
from .jpeg import read_header
from .options import ReadOptions
from .orientation import UPRIGHT, orientation_of
from .tiff import stated_nodata

_logger = logging.getLogger("maetool")


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
        self.seen += 1
        self.counts["floats"] += image.dtype == torch.float32
        if is_array(data):
            nodata = None if self.options.gaps else stated_nodata(data)
            self.nodata = self.nodata if nodata is None else nodata
            self.counts["nodata"] += nodata is not None
        elif is_deep(data):
            self.counts["deep"] += 1
            self.highest = max(self.highest, float(image.max()))
        if not self.options.exif and orientation_of(data, read_header(data)) != UPRIGHT:
            self.counts["exif"] += 1

    def log(self, root: str) -> None:
        """Log a line for each thing that was seen in the images of `root`."""
        for line in self.lines():
            # Formatted here: MMEngine's logger shows warnings of the same template only once.
            _logger.warning(f"{root}: {line}")

    def lines(self) -> list[str]:
        """Return a sentence for each thing that was seen."""
        of, lines = f"of {self.seen} files tried", []
        if turned := self.counts["exif"]:
            lines.append(
                f"{turned} {of} carry an EXIF rotation, which is not applied: boxes and masks drawn on the pictures as "
                "viewers show them lie elsewhere; set dataset.exif=True to turn the pictures."
            )
        if (deep := self.counts["deep"]) and not self.options.eight_bit:
            lines.append(
                f"{deep} {of} are photographs of more than 8 bits, whose values are kept as stored (up to "
                f"{self.highest:g}): give mean and std in that unit (`maetool dataset_stats` prints them), or set "
                "dataset.eight_bit=True for the upper eight bits."
            )
        if 0 < self.counts["floats"] < self.seen:
            lines.append(
                f"{self.counts['floats']} {of} hold other than 8-bit values, the others 0 to 255: all become float32 "
                "with the values as stored, in two units if they mean the same."
            )
        if gaps := self.counts["nodata"]:
            lines.append(
                f"{gaps} {of} say that {self.nodata:g} marks pixels without data, which are taken for values: set "
                'dataset.nodata="auto" to leave them out.'
            )
        return lines
