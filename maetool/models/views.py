"""How a segmentor looks at an image larger than it was trained on: windows, scales, mirror images."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from maetool.heads.segmentation import resize_map

Logits = Callable[[Tensor], Tensor]  # images (B, C, H, W) to logits (B, K, H, W)


def starts_of(length: int, window: int, stride: int) -> list[int]:
    """Return where windows begin along an axis: `stride` apart, the last one moved back so that it ends at the end."""
    steps = max(0, -(-(length - window) // stride))
    return [min(step * stride, max(0, length - window)) for step in range(steps + 1)]


def slide(logits: Logits, images: Tensor, window: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Return logits (B, K, H, W), at each pixel the mean of those of the windows that cover it.

    Args:
        logits: of one window.
        images: (B, C, H, W).
        window: height and width; an image that is smaller is taken as it is.
        stride: pixels from one window to the next, along each axis.
    """
    (height, width), sides = window, images.shape[2:]
    rows, columns = (starts_of(*axis) for axis in zip(sides, window, stride, strict=True))
    count = images.new_zeros(1, 1, *sides)
    total: Tensor | None = None
    for top in rows:
        for left in columns:
            part = (..., slice(top, top + height), slice(left, left + width))
            found = logits(images[part].contiguous()).float()
            total = found.new_zeros(*found.shape[:2], *sides) if total is None else total
            total[part] += found
            count[part] += 1
    return total / count


def look(logits: Logits, images: Tensor, scales: Sequence[float], flip: bool) -> Tensor:
    """Return logits (B, K, H, W); of several views of the images, the logarithm of their mean probabilities.

    Args:
        logits: of images of any size.
        images: (B, C, H, W).
        scales: how large the images are looked at.
        flip: look at the mirror images too.
    """
    if list(scales) == [1.0] and not flip:
        return logits(images)
    views = list(_views(images, scales, flip))
    total = sum(_probabilities(logits, view, mirrored, images.shape[2:]) for view, mirrored in views)
    return (total / len(views)).clamp(min=1e-12).log()


def _views(images: Tensor, scales: Sequence[float], flip: bool) -> Iterator[tuple[Tensor, bool]]:
    for scale in scales:
        size = [max(1, round(side * scale)) for side in images.shape[2:]]
        view = images if scale == 1 else functional.interpolate(images, size, mode="bilinear", align_corners=False)
        yield view, False
        if flip:
            yield view.flip(-1), True


def _probabilities(logits: Logits, view: Tensor, mirrored: bool, size: Sequence[int]) -> Tensor:
    found = logits(view).float()
    found = found.flip(-1) if mirrored else found
    return torch.softmax(resize_map(found, size), dim=1)
