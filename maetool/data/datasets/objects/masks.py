"""Masks as COCO's annotation files have them: polygons, and run lengths plain or compressed."""

from typing import Any

import numpy as np
import torch
from faster_coco_eval import mask as runs
from torch import Tensor

# Outlines are drawn by walking along them, which takes some 50 bytes a pixel. Those of COCO have a few thousand.
MAX_OUTLINE = 2**22


def decode_mask(segmentation: Any, size: tuple[int, int]) -> Tensor:
    """Return a mask, bool (H, W); what lies outside is cut off.

    Args:
        segmentation: a list of polygons, or a dict of run lengths.
        size: (H, W).

    Raises:
        ValueError: see `check_segmentation`, or run lengths that are damaged.
    """
    check_segmentation(segmentation, size)
    try:
        if isinstance(segmentation, list):
            encoded = runs.merge(runs.frPyObjects(segmentation, *size))
        else:
            plain = isinstance(segmentation["counts"], list)
            encoded = runs.frPyObjects(segmentation, *size) if plain else segmentation
        return torch.from_numpy(runs.decode(encoded).astype(bool))
    except (TypeError, RuntimeError, MemoryError) as error:  # all are faster-coco-eval's for damaged run lengths
        raise ValueError(f"its segmentation cannot be drawn ({error})") from error


def check_segmentation(segmentation: Any, size: tuple[int, int]) -> None:
    """Check that a segmentation can be drawn in bounded time and memory.

    Raises:
        ValueError: neither polygons nor run lengths, those of an image of another size, corners that are no numbers or
            further outside of the image than it is wide or high, or an outline of more than `MAX_OUTLINE` pixels.
    """
    if isinstance(segmentation, list):
        if not all(isinstance(polygon, list) and len(polygon) >= 6 for polygon in segmentation) or not segmentation:
            raise ValueError("its segmentation is no list of polygons of at least three corners each")
        length = sum(_outline(polygon, size) for polygon in segmentation)
        if length > MAX_OUTLINE:
            raise ValueError(f"its segmentation has an outline of {length:,.0f} pixels, more than {MAX_OUTLINE:,}")
    elif isinstance(segmentation, dict) and {"size", "counts"} <= segmentation.keys():
        if segmentation["size"] not in (list(size), tuple(size)):
            raise ValueError(f"its segmentation is for an image of {segmentation['size']} pixels, not {list(size)}")
        _check_counts(segmentation["counts"], size[0] * size[1])
    else:
        raise ValueError("its segmentation is neither polygons nor run lengths")


def why_not_drawn(segmentation: Any, size: tuple[int, int]) -> str | None:
    """Return why a segmentation gives no mask of a pixel or more in an image of `size` (H, W), None if it does."""
    if not segmentation:
        return "it has no segmentation"
    try:
        check_segmentation(segmentation, size)
        # Drawing takes far longer than a look at the corners, which settles nearly all polygons.
        wide = isinstance(segmentation, list) and any(_is_wide(polygon, size) for polygon in segmentation)
        if not wide and not decode_mask(segmentation, size).any():
            return "its segmentation covers no pixel"
    except ValueError as error:
        return str(error)
    return None


def _is_wide(polygon: list[float], size: tuple[int, int]) -> bool:
    """Return whether a polygon certainly covers a pixel: inside of the image, with more area than outline."""
    corners = np.asarray(polygon[: len(polygon) // 2 * 2], np.float64).reshape(-1, 2)
    following = np.roll(corners, -1, axis=0)
    area = abs(float((corners[:, 0] * following[:, 1] - corners[:, 1] * following[:, 0]).sum())) / 2
    inside = (corners >= 0).all() and (corners <= (size[1], size[0])).all()
    return bool(inside and area > float(np.abs(following - corners).sum()))


def _outline(polygon: list[Any], size: tuple[int, int]) -> float:
    """Return how many pixels there are along a polygon."""
    try:
        corners = np.asarray(polygon)
    except ValueError:  # lists of different lengths inside
        corners = np.zeros(0, object)
    if corners.ndim != 1 or corners.dtype.kind not in "iuf":
        raise ValueError("its segmentation has corners that are no numbers")
    corners = corners[: len(corners) // 2 * 2].reshape(-1, 2).astype(np.float64)
    limits = np.array([size[1], size[0]])
    if not ((corners >= -limits) & (corners <= 2 * limits)).all():  # nor is a comparison with NaN
        raise ValueError(
            f"its segmentation has a corner further outside of the image of {size[0]} x {size[1]} pixels than that is "
            f"large (x from {corners[:, 0].min():g} to {corners[:, 0].max():g}, y from {corners[:, 1].min():g} to "
            f"{corners[:, 1].max():g})"
        )
    return float(np.abs(np.diff(corners, axis=0, append=corners[:1])).max(axis=1).sum()) + len(corners)


def _check_counts(counts: Any, pixels: int) -> None:
    if isinstance(counts, list):
        # One loop in C for each: files have millions of these.
        if not all(type(count) is int for count in counts) or min(counts, default=0) < 0 or sum(counts) != pixels:
            raise ValueError(f"its run lengths are no whole numbers from 0 whose sum is {pixels:,}, the image's pixels")
    elif not isinstance(counts, str | bytes):
        raise ValueError("its run lengths are neither a list nor a string")
    elif len(counts) > 2 * pixels + 64:  # a run of one pixel is one character, and there are no shorter ones
        raise ValueError(f"its run lengths have {len(counts):,} characters, too many for {pixels:,} pixels")


def encode_mask(mask: Tensor | np.ndarray) -> dict[str, Any]:
    """Return compressed run lengths, which JSON can hold, of a mask, bool (H, W)."""
    encoded = runs.encode(np.asfortranarray(np.asarray(mask, dtype=np.uint8)))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}
