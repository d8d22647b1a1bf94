"""How a segmentor looks at an image larger than it was trained on: windows, scales, mirror images."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from maetool.heads.segmentation import resize_map

Logits = Callable[[Tensor], Tensor]  # images (B, C, H, W) to logits (B, K, H, W)


def starts_of(length: int, window: int, stride: int) -> list[int]:
    """Return where windows begin along an axis: `stride` apart, the last one moved back so that it ends at the end.

    Args:
        length: pixels of the axis.
        window: pixels of a window.
        stride: pixels from one window to the next.
    """
    steps = max(0, -(-(length - window) // stride))
    return [min(step * stride, max(0, length - window)) for step in range(steps + 1)]


def stripes(
    logits: Logits, images: Tensor, window: Sequence[int], stride: Sequence[int]
) -> Iterator[tuple[int, Tensor]]:
    """Yield logits (B, K, h, W) from top to bottom, at each pixel the mean of those of the windows that cover it.

    Only the rows that windows still cover are kept, so a large image needs the memory of one row of windows.

    Args:
        logits: of one window.
        images: (B, C, H, W).
        window: height and width; an image that is smaller is taken as it is.
        stride: pixels from one window to the next, along each axis.

    Yields:
        The row of the image at which a stripe begins, and its logits, which the next stripe overwrites.
    """
    sides = images.shape[2:]
    height, width = (min(pair) for pair in zip(window, sides, strict=True))
    rows, columns = (starts_of(*axis) for axis in zip(sides, (height, width), stride, strict=True))
    kept: Tensor | None = None
    count = images.new_zeros(1, 1, height, sides[1])
    for top, following in zip(rows, [*rows[1:], sides[0]], strict=True):
        for left in columns:
            part = (..., slice(left, left + width))
            window_logits = logits(images[..., top : top + height, left : left + width].contiguous()).float()
            if kept is None:
                kept = window_logits.new_zeros(*window_logits.shape[:2], height, sides[1])
            kept[part] += window_logits
            count[part] += 1
        done = following - top
        assert kept is not None
        yield top, kept[..., :done, :].div_(count[..., :done, :].clone())  # which the backward pass needs
        for each in (kept, count):
            rest = each[..., done:, :].clone()
            each.zero_()[..., : rest.shape[2], :] = rest


def slide(logits: Logits, images: Tensor, window: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Return logits (B, K, H, W), at each pixel the mean of those of the windows that cover it; see `stripes`.

    Args:
        logits: from images (B, C, *window) to logits (B, K, *window).
        images: (B, C, H, W).
        window: rows and columns of a window, in pixels.
        stride: pixels from one window to the next, along each axis.
    """
    result: Tensor | None = None
    for top, stripe in stripes(logits, images, window, stride):
        result = stripe.new_empty(*stripe.shape[:2], *images.shape[2:]) if result is None else result
        result[..., top : top + stripe.shape[2], :] = stripe
    assert result is not None
    return result


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
    total, number = torch.zeros((), device=images.device), 0
    for number, (view, mirrored) in enumerate(_views(images, scales, flip), start=1):
        shares = _probabilities(logits, view, mirrored, images.shape[2:])
        total = total.expand_as(shares).clone() if number == 1 else total
        total += shares  # in place, because large images have little memory to spare
    return total.div_(number).clamp_(min=1e-12).log_()


def _views(images: Tensor, scales: Sequence[float], flip: bool) -> Iterator[tuple[Tensor, bool]]:
    for scale in scales:
        size = [max(1, round(side * scale)) for side in images.shape[2:]]
        view = images if scale == 1 else functional.interpolate(images, size, mode="bilinear", align_corners=False)
        yield view, False
        if flip:
            yield view.flip(-1), True


def _probabilities(logits: Logits, view: Tensor, mirrored: bool, size: Sequence[int]) -> Tensor:
    predicted = logits(view).float()
    predicted = predicted.flip(-1) if mirrored else predicted
    return torch.softmax(resize_map(predicted, size), dim=1)
