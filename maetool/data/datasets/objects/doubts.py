"""What is odd about the objects of an annotation file, so that somebody should look at it before a training."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..subsets import evenly_spaced

_LOOKED_AT = 256  # outlines, evenly spaced
_OFTEN = 0.1  # share of the objects from which on it is no slip
_TOLERANCE = 2  # pixels that a box may be beside its outline


def doubts_about(boxes: np.ndarray, sides: np.ndarray, outline: Callable[[int], Any], files: Sequence[str]) -> str:
    """Return sentences on what is odd, each with a space before it; "" if nothing is.

    Args:
        boxes: left, top, width and height in pixels, float64 (M, 4).
        sides: width and height of the image of each box, (M, 2).
        outline: gives the segmentation of an object by its place.
        files: the names of the images.
    """
    return _fractions(boxes) + _overhang(boxes, sides) + _repeated(files) + _beside(boxes, outline)


def _fractions(boxes: np.ndarray) -> str:
    if len(boxes) < 2 or boxes.max() > 1 or boxes.min() < 0:
        return ""
    return " All boxes lie between 0 and 1: are they fractions of the image's sides? They are read as pixels."


def _overhang(boxes: np.ndarray, sides: np.ndarray) -> str:
    """Return a sentence if many boxes reach beyond their images, as those of right and bottom do."""
    beyond = (boxes[:, :2] + boxes[:, 2:] > sides + 1).any(axis=1) | (boxes[:, :2] < -1).any(axis=1)
    if beyond.sum() <= _OFTEN * len(beyond):
        return ""
    return (
        f" {beyond.sum():,} of {len(beyond):,} boxes reach beyond their image: are they left, top, width and "
        "height in pixels?"
    )


def _repeated(files: Sequence[str]) -> str:
    twice = [name for name, times in Counter(files).items() if times > 1]
    if not twice:
        return ""
    return (
        f" {len(twice):,} files are listed as more than one image (first: {twice[0]}): join these images, or objects "
        "of one are background in the other."
    )


def _beside(boxes: np.ndarray, outline: Callable[[int], Any]) -> str:
    """Return a sentence if many boxes lie elsewhere than the polygons of their objects."""
    places = [place for place in evenly_spaced(len(boxes), _LOOKED_AT).tolist() if _is_polygons(outline(place))]
    wrong = [place for place in places if not _encloses(boxes[place], outline(place))]
    if len(wrong) <= _OFTEN * len(places):
        return ""
    shown = [f"{value:g}" for value in boxes[wrong[0]]]
    return (
        f" {len(wrong):,} of {len(places):,} boxes that were looked at lie beside their outlines, such as "
        f"[{', '.join(shown)}] of one from {' to '.join(_corners(outline(wrong[0])))}: are they left, top, width and "
        "height in pixels of the same picture?"
    )


def _is_polygons(outline: Any) -> bool:
    return isinstance(outline, list) and bool(outline) and all(isinstance(p, list) and len(p) >= 6 for p in outline)


def _extent(outline: Any) -> np.ndarray:
    """Return left, top, right and bottom of polygons."""
    corners = np.concatenate([np.asarray(each[: len(each) // 2 * 2], np.float64).reshape(-1, 2) for each in outline])
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def _corners(outline: Any) -> list[str]:
    left, top, right, bottom = _extent(outline)
    return [f"({left:g}, {top:g})", f"({right:g}, {bottom:g})"]


def _encloses(box: np.ndarray, outline: Any) -> bool:
    """Return whether a box is that of an outline, up to some pixels or a tenth of its sides."""
    try:
        extent = _extent(outline)
    except (TypeError, ValueError):  # corners that are no numbers, which are told elsewhere
        return True
    stated = np.concatenate([box[:2], box[:2] + box[2:]])
    allowed = np.maximum(_TOLERANCE, np.tile(extent[2:] - extent[:2], 2) * _OFTEN)
    return bool((np.abs(stated - extent) <= allowed).all())
