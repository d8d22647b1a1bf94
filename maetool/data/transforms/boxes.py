"""Transforms of images with objects, which resize and pad; random draws from torch's default generator."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from maetool.data.codecs.resize import resize
from maetool.registry import TRANSFORMS

from .crops import range_of, size_of
from .sample import Sample, SampleTransform, entries_of, in_sight, objects_in, plain

PADDING = 114  # grey level beyond the image, as in mmdetection


@TRANSFORMS.register_module()
class FitObjects(SampleTransform):
    """Resize the whole image so that it just fits into `size`, and pad it to the right and below (evaluation).

    Args:
        size: height and width of the output in pixels, or one number for both.
        pad: value of what is added.

    Raises:
        UsageError: a size that is not positive.
    """

    takes = ("objects",)
    draws_by_torch_alone = True

    def __init__(self, size: int | Sequence[int], pad: int = PADDING) -> None:
        self.size, self.pad = size_of(size), pad

    def move(self, sample: Sample) -> Sample:
        """Return image and objects, (C, *size)."""
        return _padded(_resized(sample, self.size), self.size, self.pad)


@TRANSFORMS.register_module()
class LargeScaleJitter(SampleTransform):
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

    takes = ("objects",)
    draws_by_torch_alone = True

    def __init__(self, size: int | Sequence[int], scale: Sequence[float] = (0.1, 2.0), pad: int = PADDING) -> None:
        self.size, self.pad = size_of(size), pad
        self.scale = range_of("scale", scale, owner="LargeScaleJitter")

    def move(self, sample: Sample) -> Sample:
        """Return a random view (C, *size)."""
        factor = torch.empty(1).uniform_(*self.scale).item()
        fit = tuple(max(1, round(side * factor)) for side in self.size)
        resized = _resized(sample, fit)
        return _padded(_window(resized, self.size), self.size, self.pad)


def _resized(sample: Sample, fit: tuple[int, int]) -> Sample:
    """Resize a sample without padding so that it just fits into (rows, columns)."""
    height, width = sample["inputs"].shape[1:]
    factor = min(fit[0] / height, fit[1] / width)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    if size == (height, width):
        return sample
    # Both axes by their own factor: the rounding of the sizes makes them differ.
    scale = torch.tensor([size[1] / width, size[0] / height]).repeat(2)
    image = resize(plain(sample["inputs"]), size)
    return _with(sample, image, size, lambda boxes: boxes * scale, lambda masks: _resized_masks(masks, size))


def _with(
    sample: Sample,
    image: Tensor,
    content: tuple[int, int],
    of_boxes: Callable[[Tensor], Tensor],
    of_masks: Callable[[Tensor], Tensor],
) -> Sample:
    """Return a sample with another image, and boxes and masks, where there are any, changed by functions."""
    if "boxes" not in sample:
        return {**sample, "inputs": image}
    objects = objects_in(sample)
    return {**sample, "inputs": image, **entries_of(objects.moved(of_boxes(objects.boxes), of_masks), content)}


def _resized_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    if not len(masks):
        return masks.new_zeros(0, *size)
    return functional.interpolate(masks[None].to(torch.uint8), size, mode="nearest-exact")[0].bool()


def _window(sample: Sample, size: tuple[int, int]) -> Sample:
    """Cut a random window of at most (rows, columns) out of a sample without padding."""
    has = sample["inputs"].shape[1:]
    rows, columns = (min(side, limit) for side, limit in zip(has, size, strict=True))
    top, left = (int(torch.randint(side - cut + 1, ())) for side, cut in zip(has, (rows, columns), strict=True))
    view = (..., slice(top, top + rows), slice(left, left + columns))
    corner = torch.tensor([left, top, left, top], dtype=torch.float32)
    image = plain(sample["inputs"])[view]
    return in_sight(_with(sample, image, (rows, columns), lambda boxes: boxes - corner, lambda masks: masks[view]))


def _padded(sample: Sample, size: tuple[int, int], value: int) -> Sample:
    rows, columns = sample["inputs"].shape[1:]
    beyond = (0, size[1] - columns, 0, size[0] - rows)
    image = functional.pad(plain(sample["inputs"]), beyond, value=value).contiguous()
    return _with(sample, image, (rows, columns), lambda boxes: boxes, lambda masks: functional.pad(masks, beyond))
