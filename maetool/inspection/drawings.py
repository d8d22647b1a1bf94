"""Pictures with their truth drawn on them."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maetool.data.codecs.encoded import decoded
from maetool.data.codecs.images import UnreadableImage
from maetool.data.datasets.subsets import evenly_spaced
from maetool.data.sources.base import Labels, Measurements
from maetool.errors import UsageError
from maetool.visualization.boxes import draw_objects
from maetool.visualization.overlays import overlay, palette_of
from maetool.visualization.reconstruction import displayable

from .parts import Part

_SIDE = 320  # pixels of the longer side of a picture
_MOST_LABELS = 4


@dataclass(frozen=True)
class Drawing:
    """A picture for people.

    Attributes:
        name: path of the image as seen from its root.
        caption: its labels, or what is said of it.
        picture: uint8 (H, W, 3).
    """

    name: str
    caption: str
    picture: np.ndarray


def draw(part: Part, number: int) -> Iterator[Drawing]:
    """Yield some images of a part with their truth: of each class the same number, else evenly spaced.

    An image that EXIF turns is drawn twice where something is drawn on it, as stored and as `exif=True` turns it.
    """
    if part.dataset is None:
        return
    for index in _chosen(part, number):
        yield from _drawn(part, part.dataset, index, "")
        if part.dataset.moves and _is_turned(part, index):
            turned = copy(part.dataset)
            turned.options = part.dataset.options._replace(exif=True)
            yield from _drawn(part, turned, index, "with dataset.exif=True")


def _chosen(part: Part, number: int) -> list[int]:
    labels = part.labels
    if not isinstance(labels, Labels) or labels.values.ndim > 1:
        return evenly_spaced(len(part.source), number).tolist()
    members = [(labels.values == label).nonzero().flatten() for label in range(len(labels.classes))]
    members = [each for each in members if len(each)]
    share = max(1, number // max(1, len(members)))
    members = [members[i] for i in evenly_spaced(len(members), number).tolist()]
    return [int(each[i]) for each in members for i in evenly_spaced(len(each), share).tolist()]


def _is_turned(part: Part, index: int) -> bool:
    from maetool.data.codecs.jpeg import read_header
    from maetool.data.codecs.orientation import UPRIGHT, orientation_of

    try:
        _, data = part.source.read(index)
    except UnreadableImage:
        return False
    return orientation_of(data, read_header(data)) != UPRIGHT


def _drawn(part: Part, dataset: Any, index: int, remark: str) -> Iterator[Drawing]:
    name = part.source.relative(index)
    try:
        sample = dataset.stored(index)
        image = decoded(sample["inputs"])
    except (UnreadableImage, UsageError) as error:
        yield Drawing(name, f"not readable{' ' * bool(remark)}{remark}: {error}", np.full((60, 120, 3), 200, np.uint8))
        return
    picture = displayable(image[None].float(), image[None])[0]  # (H, W, 3)
    size = _shown_size(picture.shape[0], picture.shape[1])
    how = Image.Resampling.BILINEAR if max(picture.shape[:2]) > _SIDE else Image.Resampling.NEAREST
    resized = np.asarray(Image.fromarray(picture.numpy()).resize(size[::-1], how))
    yield Drawing(name, remark or _caption(part, index), _with_truth(resized, sample, dataset, size))


def _shown_size(height: int, width: int) -> tuple[int, int]:
    """Return height and width of a picture on the page: of large ones less, of small ones a multiple."""
    longer = max(height, width)
    scale = _SIDE / longer if longer > _SIDE else max(1, _SIDE // (2 * longer) * 2)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _with_truth(picture: np.ndarray, sample: dict[str, Any], dataset: Any, size: tuple[int, int]) -> np.ndarray:
    if "semantic" in sample:
        classes = _resized(sample["semantic"][None].float(), size)[0].long().numpy()
        return overlay(picture, classes, palette_of(len(dataset.classes)))
    if "objects" not in sample:
        return picture
    objects = sample["objects"]
    rows, columns = (int(side) for side in decoded(sample["inputs"]).shape[-2:])
    factors = torch.tensor([size[1] / columns, size[0] / rows] * 2)
    found = {"boxes": objects.boxes * factors, "labels": objects.labels}
    if objects.masks is not None and len(objects.masks):
        found["masks"] = _resized(objects.masks.float(), size) > 0
    return draw_objects(torch.from_numpy(picture.copy()).permute(2, 0, 1), found, dataset.classes)


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps (N, H, W) at another size, by the nearest pixel."""
    return torch.nn.functional.interpolate(maps[None], size, mode="nearest")[0]


def _caption(part: Part, index: int) -> str:
    labels = part.labels
    if labels is None:
        return ""
    value = labels.values[index]
    if isinstance(labels, Measurements):
        return ", ".join(f"{name} {v:g}" for name, v in zip(labels.names, value.flatten().tolist(), strict=True))
    if value.ndim == 0:
        return labels.classes[int(value)]
    names = [name for name, v in zip(labels.classes, value.tolist(), strict=True) if v > 0]
    more = f" and {len(names) - _MOST_LABELS} more" if len(names) > _MOST_LABELS else ""
    return (", ".join(names[:_MOST_LABELS]) or "none of the classes") + more
