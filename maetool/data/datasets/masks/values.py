"""What the masks of a data set hold, looked at before the first step of a training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maetool.errors import UsageError

LOOKED_AT = 64  # masks, evenly spaced
_NAMED = 12


@dataclass(frozen=True)
class MaskValues:
    """How many pixels of some masks have each value.

    Attributes:
        counts: int64 (V,), the number of pixels with each value.
        masks: the number of masks looked at.
        total: the number of masks there are.
        classes: names of the K classes.
        zero_is_ignored, ignore_index: see `SegmentationDataset`.
    """

    counts: np.ndarray
    masks: int
    total: int
    classes: Sequence[str]
    zero_is_ignored: bool
    ignore_index: int

    @property
    def of_classes(self) -> np.ndarray:
        """The number of pixels of each class, int64 (K,)."""
        counts = self.counts.copy()
        if self.ignore_index < len(counts):
            counts[self.ignore_index] = 0
        first = int(self.zero_is_ignored)
        counts = counts[first : first + len(self.classes)]
        return np.pad(counts, (0, len(self.classes) - len(counts)))

    @property
    def looked_at(self) -> str:
        """Which masks these are, in words."""
        if self.masks < self.total:
            return f"{self.masks} of {self.total:,} masks"
        return f"the {self.total:,} masks" if self.total > 1 else "the only mask"

    def describe(self) -> str:
        """Return the share of each class by name, of many the largest and the smallest, and of ignored pixels."""
        total, order = self.counts.sum(), np.argsort(-self.of_classes, kind="stable")
        shown = order if len(order) <= _NAMED else [*order[:3], *order[-3:]]
        parts = [f"{self.classes[i]} {self.of_classes[i] / total:.1%}" for i in shown]
        if len(order) > _NAMED:
            parts.insert(3, "...")
        ignored = 1 - self.of_classes.sum() / total
        return f"Pixels in {self.looked_at}: {', '.join(parts)}; {ignored:.1%} are ignored."

    @property
    def is_certain(self) -> bool:
        """Whether what `check` refuses does not depend on how many masks there are: nothing counts, or 0 and 255."""
        return not self.of_classes.any() or self._is_black_and_white

    @property
    def _is_black_and_white(self) -> bool:
        seen = np.flatnonzero(self.counts).tolist()
        return self.ignore_index == 255 and seen == [0, 255] and len(self.classes) == 2

    def check(self) -> None:
        """Check that there is something to learn.

        Raises:
            UsageError: all pixels are ignored, or masks of 0 and 255, or classes from 0 where 0 is ignored.
        """
        seen, present = np.flatnonzero(self.counts).tolist(), np.count_nonzero(self.of_classes)
        shares = ", ".join(f"{value}: {self.counts[value] / self.counts.sum():.1%}" for value in seen[:8])
        holds = f"The pixels in {self.looked_at} have the values {shares}"
        if self._is_black_and_white:
            raise UsageError(
                f"{holds}, but 255 is ignored, so fewer than two classes are left: if 255 is the second class, write 1 "
                "in its place, with zero_is_ignored=False."
            )
        numbered = [value for value in seen if value != self.ignore_index]
        if self.zero_is_ignored and present < 2 and 0 in numbered and max(numbered) < len(self.classes):
            raise UsageError(
                f"{holds}, and 0 is ignored, so fewer than two classes are left: if the classes are numbered from 0, "
                "set zero_is_ignored=False."
            )
        if not present:
            raise UsageError(f"{holds}, and all are ignored: correct ignore_index, zero_is_ignored or the masks.")

    def warning(self) -> str:
        """Return a sentence on classes that never occur, and on numbers that may be shifted; "" if there are none."""
        absent = [name for name, count in zip(self.classes, self.of_classes, strict=True) if not count]
        if not absent:
            return ""
        names = ", ".join(f"`{name}`" for name in absent[:5]) + (" ..." if len(absent) > 5 else "")
        text = f"{len(absent)} of {len(self.classes)} classes never occur in {self.looked_at}: {names}."
        zeros = self.counts[0] / self.counts.sum()
        if self.zero_is_ignored and zeros and len(absent) < len(self.classes) and absent[-1] == self.classes[-1]:
            text += (
                f" {zeros:.1%} of the pixels are 0, which is ignored, and the last class is among the absent ones: if "
                "the classes are numbered from 0, set zero_is_ignored=False."
            )
        return text
