"""Masks as COCO's annotation files have them: polygons, and run lengths plain or compressed."""

from typing import Any

import numpy as np
import torch
from faster_coco_eval import mask as runs
from torch import Tensor


def decode_mask(segmentation: Any, size: tuple[int, int]) -> Tensor:
    """Return a mask, bool (H, W), from a list of polygons or a dict of run lengths.

    Raises:
        ValueError: neither, or for an image of another size.
    """
    if isinstance(segmentation, list):
        if not all(isinstance(polygon, list) and len(polygon) >= 6 for polygon in segmentation) or not segmentation:
            raise ValueError("its segmentation is no list of polygons of at least three corners each")
        found = runs.merge(runs.frPyObjects(segmentation, *size))
    elif isinstance(segmentation, dict) and {"size", "counts"} <= segmentation.keys():
        if list(segmentation["size"]) != list(size):
            raise ValueError(f"its segmentation is for an image of {segmentation['size']} pixels, not {list(size)}")
        plain = isinstance(segmentation["counts"], list)
        found = runs.frPyObjects(segmentation, *size) if plain else segmentation
    else:
        raise ValueError("its segmentation is neither polygons nor run lengths")
    return torch.from_numpy(runs.decode(found).astype(bool))


def encode_mask(mask: Tensor | np.ndarray) -> dict[str, Any]:
    """Return compressed run lengths, which JSON can hold, of a mask, bool (H, W)."""
    found = runs.encode(np.asfortranarray(np.asarray(mask, dtype=np.uint8)))
    return {"size": [int(side) for side in found["size"]], "counts": found["counts"].decode("ascii")}
