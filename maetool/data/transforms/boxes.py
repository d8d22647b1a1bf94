"""Transforms of images with objects: from a `Picture` to a `Picture`, random draws from torch's default generator."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from maetool.data.codecs.resize import resize
from maetool.data.objects import Picture
from maetool.registry import TRANSFORMS

from .crops import RandomHorizontalFlip, range_of, size_of

PADDING = 114  # grey level beyond the image, as in mmdetection


@TRANSFORMS.register_module()
class FlipObjects(RandomHorizontalFlip):
    """Mirror image and objects left to right with probability `p`.

    Raises:
        UsageError: `p` outside 0..1.
    """

    takes_objects = True

    def __call__(self, picture: Picture) -> Picture:
        """Return the picture, mirrored or as it was; comes before padding."""
        if torch.rand(1).item() >= self.p:
            return picture
        objects, width = picture.objects, picture.image.shape[-1]
        left, top, right, bottom = objects.boxes.unbind(dim=1)
        boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
        flipped = objects.moved(boxes, lambda masks: masks.flip(-1))
        return Picture(picture.image.flip(-1), flipped, picture.content)


@TRANSFORMS.register_module()
class FitObjects:
    """Resize the whole image so that it just fits into `size`, and pad it to the right and below (evaluation).

    Args:
        size: height and width of the output in pixels, or one number for both.
        pad: value of what is added.

    Raises:
        UsageError: a size that is not positive.
    """

    takes_objects = True

    def __init__(self, size: int | Sequence[int], pad: int = PADDING) -> None:
        self.size, self.pad = size_of(size), pad

    def __call__(self, picture: Picture) -> Picture:
        """Return the picture (C, *size)."""
        return _padded(_resized(picture, self.size), self.size, self.pad)


@TRANSFORMS.register_module()
class LargeScaleJitter:
    """Resize the image to fit into a random multiple of `size`, then cut a random window of `size` out, or pad to it.

    Objects that are cut away are left out, and boxes hold what is left of their masks. The fill and the order follow
    mmdetection's recipe of ViTDet; the method is of Ghiasi et al., "Simple copy-paste" (2021).

    Args:
        size: height and width of the output in pixels, or one number for both.
        scale: range of the multiple.
        pad: value of what is added to the right and below.

    Raises:
        UsageError: a size that is not positive, or a range that is empty or not positive.
    """

    takes_objects = True

    def __init__(self, size: int | Sequence[int], scale: Sequence[float] = (0.1, 2.0), pad: int = PADDING) -> None:
        self.size, self.pad = size_of(size), pad
        self.scale = range_of("scale", scale, owner="LargeScaleJitter")

    def __call__(self, picture: Picture) -> Picture:
        """Return a random view (C, *size)."""
        factor = torch.empty(1).uniform_(*self.scale).item()
        fit = tuple(max(1, round(side * factor)) for side in self.size)
        resized = _resized(picture, fit)
        return _padded(_window(resized, self.size), self.size, self.pad)


def _resized(picture: Picture, fit: tuple[int, int]) -> Picture:
    """Resize a picture without padding so that it just fits into (rows, columns)."""
    height, width = picture.image.shape[1:]
    factor = min(fit[0] / height, fit[1] / width)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    if size == (height, width):
        return picture
    # Both axes by their own factor: the rounding of the sizes makes them differ.
    boxes = picture.objects.boxes * torch.tensor([size[1] / width, size[0] / height]).repeat(2)
    objects = picture.objects.moved(boxes, lambda masks: _resized_masks(masks, size))
    return Picture(resize(picture.image, size), objects, size)


def _resized_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    if not len(masks):
        return masks.new_zeros(0, *size)
    return functional.interpolate(masks[None].to(torch.uint8), size, mode="nearest-exact")[0].bool()


def _window(picture: Picture, size: tuple[int, int]) -> Picture:
    """Cut a random window of at most (rows, columns) out of a picture without padding."""
    has = picture.image.shape[1:]
    rows, columns = (min(side, wanted) for side, wanted in zip(has, size, strict=True))
    top, left = (int(torch.randint(side - cut + 1, ())) for side, cut in zip(has, (rows, columns), strict=True))
    view = (..., slice(top, top + rows), slice(left, left + columns))
    boxes = picture.objects.boxes - torch.tensor([left, top, left, top], dtype=torch.float32)
    objects = picture.objects.moved(boxes, lambda masks: masks[view])
    return Picture(picture.image[view], objects.in_sight((rows, columns)), (rows, columns))


def _padded(picture: Picture, size: tuple[int, int], value: int) -> Picture:
    rows, columns = picture.image.shape[1:]
    beyond = (0, size[1] - columns, 0, size[0] - rows)
    image = functional.pad(picture.image, beyond, value=value)
    objects = picture.objects.moved(picture.objects.boxes, lambda masks: functional.pad(masks, beyond))
    return Picture(image.contiguous(), objects, (rows, columns))
