"""Which objects of an image a detector missed, and which of its detections are none."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torchvision.ops import box_iou

_OVERLAP = 0.5


def unmatched(
    true: Mapping[str, Tensor], found: Mapping[str, Tensor], overlap: float = _OVERLAP
) -> tuple[Tensor, Tensor]:
    """Return which true objects are missed, bool (N,), and which found ones are false, bool (M,).

    From the highest score on, each found object is matched with the true one of its class, not matched before, that
    overlaps it most, as COCO does at one overlap.

    Args:
        true: `boxes` (N, 4), left, top, right and bottom in pixels, and `labels` (N,).
        found: `boxes` (M, 4) in the same pixels, `labels` and `scores` (M,).
        overlap: the least intersection over union of a match, 0 to 1.
    """
    missed = torch.ones(len(true["labels"]), dtype=torch.bool)
    false = torch.ones(len(found["labels"]), dtype=torch.bool)
    if not len(missed) or not len(false):
        return missed, false
    overlaps = box_iou(found["boxes"].float(), true["boxes"].float())  # (M, N)
    overlaps[found["labels"][:, None] != true["labels"]] = 0
    for place in found["scores"].argsort(descending=True, stable=True).tolist():
        most, match = (overlaps[place] * missed).max(dim=0)
        if most >= overlap:
            missed[match], false[place] = False, False
    return missed, false
