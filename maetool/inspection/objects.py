"""What COCO's annotation files hold: objects, crowds, and what cannot be drawn."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from maetool.data.datasets.coco import CocoDataset
from maetool.messages import plural

from .findings import Finding, Severity, some
from .parts import Part

_SMALL = 32**2  # pixels, COCO's limit of a small object


@dataclass
class Objects:
    """The objects of a part.

    Attributes:
        images, objects, background: how many there are; images without objects are background.
        crowds, flat, undrawn, outside: annotations of crowds, of boxes without area, without an outline that can be
            drawn, and that reach more than a pixel beyond their image.
        most: the largest number of objects in an image.
        sides: smallest, median and largest square root of a box's area, in pixels.
        small: the share of objects below 32 x 32 pixels.
        classes: name to the number of objects.
        ids: first and last id of a category, and whether these are 1 to K.
    """

    images: int
    objects: int
    background: int
    crowds: int
    flat: int
    undrawn: int
    outside: int
    most: int
    sides: tuple[float, float, float]
    small: float
    classes: dict[str, int] = field(default_factory=dict)
    ids: str = ""


def look_at_objects(part: Part) -> Objects | None:
    """Return what the annotations of the images of a part hold; None without any."""
    dataset = part.dataset
    if not isinstance(dataset, CocoDataset):
        return None
    source, places = dataset.source, _places(dataset)
    learned = source.learned(dataset.with_masks)[places]
    boxes, labels = source.boxes[places][learned], source.labels[places][learned]
    sides = np.sqrt(np.maximum(boxes[:, 2] * boxes[:, 3], 0))
    counts = [int(source.learned(dataset.with_masks)[source.places(n)].sum()) for n in dataset.numbers]
    times = np.bincount(labels, minlength=len(source.classes)).tolist()
    ids = dataset.category_ids()
    return Objects(
        images=len(dataset),
        objects=int(learned.sum()),
        background=counts.count(0),
        crowds=int(source.crowd[places].sum()),
        flat=int(source.flat[places].sum()),
        undrawn=int((source.undrawn & ~source.crowd & ~source.flat)[places].sum()),
        outside=int(_outside(source)[places].sum()),
        most=max(counts, default=0),
        sides=(float(sides.min()), float(np.median(sides)), float(sides.max())) if len(sides) else (0.0, 0.0, 0.0),
        small=float((boxes[:, 2] * boxes[:, 3] < _SMALL).mean()) if len(sides) else 0.0,
        classes=dict(zip(source.classes, times, strict=True)),
        ids="1 to K" if list(ids) == list(range(1, len(ids) + 1)) else f"{ids[0]!r} to {ids[-1]!r}",
    )


def _places(dataset: CocoDataset) -> np.ndarray:
    ranges = [dataset.source.places(number) for number in dataset.numbers]
    return np.array([place for each in ranges for place in each], np.int64)


def _outside(source: Any) -> np.ndarray:
    sides = np.repeat(source.sizes[:, ::-1], np.diff(source.starts), axis=0)
    beyond: np.ndarray = (source.boxes[:, :2] + source.boxes[:, 2:] > sides + 1).any(axis=1)
    return beyond | (source.boxes[:, :2] < -1).any(axis=1)


def findings_of_objects(part: Part, found: Objects) -> list[Finding]:
    """Return what is worth saying about the objects of a part.

    Args:
        part: of the data.
        found: its objects, counted.
    """
    sentences: list[tuple[Severity, str]] = []
    of = f"of the annotations of {part.name}"
    if found.outside:
        asked = ": are they left, top, width and height in pixels?" if found.outside * 10 > found.objects else "."
        sentences.append(("warning", f"{plural(found.outside, 'box')} {of} reach beyond their image{asked}"))
    missing = "have no outline that can be drawn, so they are passed over where masks are learned"
    flat = "have a box of no area inside of their image, and are passed over"
    for number, what in ((0 if part.has_boxes_alone else found.undrawn, missing), (found.flat, flat)):
        if number:
            sentences.append(("warning", f"{number:,} {of} {what}."))
    if found.crowds:
        sentences.append(("note", f"{found.crowds:,} {of} are crowds, which are not trained on."))
    never = [name for name, count in found.classes.items() if not count]
    if never and part.name in ("train", "all"):
        sentences.append(("warning", f"No object of {part.name} is of {some([f'`{name}`' for name in never])}."))
    if found.ids != "1 to K" and not Path(part.place["annotations"]).is_dir():
        sentences.append(("note", f"The ids of the categories are {found.ids}; they are numbered anew inside."))
    return [Finding(severity, "objects", sentence) for severity, sentence in sentences]
