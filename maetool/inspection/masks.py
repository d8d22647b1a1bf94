"""What the masks of a data set hold: their values, and what these mean."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from maetool.config.layouts.masks import MaskFolders
from maetool.data.codecs.image_size import MAX_PIXELS, open_by_pillow
from maetool.data.codecs.images import UnreadableImage, read_bytes
from maetool.data.datasets.masks.values import LOOKED_AT, MaskValues
from maetool.data.datasets.segmentation import CLASSES_FILE, read_classes, read_index_png
from maetool.data.datasets.subsets import evenly_spaced
from maetool.errors import UsageError

from .findings import Finding, some

_IGNORED = 255
_SPARSE, _HIGH = 0.5, 10  # numbered masks up to a higher value, of which fewer than this share occur, are grey levels
_MANY = 0.2  # share of pixels that count nothing, above which it is said


@dataclass
class Masks:
    """What some masks of the training part hold.

    Attributes:
        counts: value to the number of pixels.
        looked_at: masks that were read.
        total: masks that there are.
        palettes: masks with a palette.
        classes: names of the classes.
        named: whether `classes.txt` names them.
        zero_is_ignored: see `SegmentationDataset`.
        broken: "path: reason" of each mask that cannot be read.
    """

    counts: dict[int, int]
    looked_at: int
    total: int
    palettes: int
    classes: list[str]
    named: bool
    zero_is_ignored: bool
    broken: list[str] = field(default_factory=list)

    @property
    def values(self) -> MaskValues:
        """The counts as a training looks at them."""
        counts = np.zeros(max([*self.counts, _IGNORED]) + 1, np.int64)
        for value, count in self.counts.items():
            counts[value] = count
        return MaskValues(counts, self.looked_at, self.total, self.classes, self.zero_is_ignored, _IGNORED)

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of a `SegmentationDataset` that follow."""
        return {"zero_is_ignored": self.zero_is_ignored} | ({} if self.named else {"classes": self.classes})


def look_at_masks(root: Path, folders: MaskFolders, max_pixels: int = MAX_PIXELS) -> Masks:
    """Return what some masks of the first part hold, evenly spaced.

    Args:
        root: the user's folder.
        folders: of images and masks in it.
        max_pixels: height * width of a mask at most.

    Raises:
        UsageError: a `classes.txt` that lists no classes.
    """
    part = next(iter(folders.folders))
    folder = root / folders.folders[part][1]
    suffix = folders.annotation_suffix
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name.lower().endswith(suffix))
    counts: dict[int, int] = {}
    palettes, read, broken = 0, 0, []
    for index in evenly_spaced(len(paths), LOOKED_AT).tolist():
        try:
            values, times = np.unique(read_index_png(paths[index], max_pixels), return_counts=True)
            palettes += _has_palette(paths[index])
        except (UnreadableImage, UsageError) as error:  # the latter of a lossy format
            broken.append(str(error))
            continue
        read += 1
        for value, count in zip(values.tolist(), times.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + count
    named = (root / CLASSES_FILE).is_file()
    classes = read_classes(root) if named else _numbered(counts)
    shifted = named and bool(counts) and max(_classes_in(counts), default=0) == len(classes)
    return Masks(counts, read, len(paths), palettes, classes, named, shifted, broken)


def _has_palette(path: Path) -> bool:
    with open_by_pillow(read_bytes(path), None) as picture:
        return picture.mode == "P"


def _classes_in(counts: dict[int, int]) -> list[int]:
    return [value for value in counts if value != _IGNORED]


def _numbered(counts: dict[int, int]) -> list[str]:
    """Return a name for each class from 0 to the highest; two at least, as a training needs."""
    return [f"class{number}" for number in range(max([*_classes_in(counts), 1]) + 1)]


def findings_of_masks(masks: Masks) -> list[Finding]:
    """Return what is worth saying about `masks` and their `folders`."""
    found = []
    if masks.broken:
        share = f"{len(masks.broken):,} of {masks.looked_at + len(masks.broken):,} masks cannot be read"
        found.append(Finding("error", "truth" if masks.counts else "masks", f"{share}: {some(masks.broken, 1)}."))
    if not masks.counts:
        return found
    found += _of_convention(masks)
    if not masks.named and {*masks.counts} != {0, _IGNORED}:
        found.append(
            Finding(
                "note",
                "masks",
                f"The classes have no names: write {CLASSES_FILE} into the folder, a name a line in the order of their "
                f"numbers from 0, in place of {some(masks.classes)}.",
            )
        )
    if masks.palettes:
        of = f"{masks.palettes:,} of {masks.looked_at:,} masks"
        found.append(Finding("note", "masks", f"{of} have a palette: the numbers count, not the colours."))
    return found


def _of_convention(masks: Masks) -> list[Finding]:
    values, found = masks.values, []
    if {*masks.counts} == {0, _IGNORED}:
        share = masks.counts[_IGNORED] / sum(masks.counts.values())
        sentence = (
            f"The masks are 0 and 255 ({share:.1%} of the pixels), but 255 counts nothing: write 1 in its place, for "
            "example by `Image.fromarray((numpy.asarray(mask) > 127).astype('uint8'))`."
        )
        return [Finding("error", "masks", sentence)]
    seen = _classes_in(masks.counts)
    if not masks.named and max(seen, default=0) > _HIGH and len(seen) < _SPARSE * max(seen):
        sentence = (
            f"The masks hold the values {some(sorted(masks.counts), 8)}, which look like grey levels, not like numbers "
            "of classes: write 0, 1, 2 ... in their place."
        )
        return [Finding("error", "masks", sentence)]
    try:
        values.check()
    except UsageError as error:
        return [Finding("error", "masks", str(error))]
    if values.warning():
        found.append(Finding("warning", "masks", values.warning()))
    beyond = [v for v in seen if v > len(masks.classes) - (not masks.zero_is_ignored)]
    if masks.named and beyond:
        sentence = (
            f"The masks hold the values {some(sorted(beyond))}, but {CLASSES_FILE} names {len(masks.classes)} classes."
        )
        found.append(Finding("error", "masks", sentence))
    ignored = 1 - values.of_classes.sum() / values.counts.sum()
    if ignored > _MANY:
        found.append(Finding("note", "masks", f"{ignored:.1%} of the pixels count nothing."))
    return found
