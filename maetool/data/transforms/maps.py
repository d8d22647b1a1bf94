"""Transforms of an image and the classes of its pixels.

Random draws come from torch's default generator, which `ImageDataset` seeds with the key of the sample. Source of the
recipe: the training of UPerNet in mmsegmentation.
"""

from collections.abc import Sequence
from typing import ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from maetool.errors import UsageError
from maetool.ops.geometry import format_size, to_size
from maetool.registry import TRANSFORMS

from .preprocessor import IMAGENET_MEAN
from .sample import KINDS, Sample, SampleTransform, plain

_TRIES = 10
_SMALL = {"long_side": 128, "short_side": 64}


def resize_image(image: Tensor, size: Sequence[int]) -> Tensor:
    """Return an image (C, H, W) at another size, bilinearly and without antialiasing as OpenCV does it."""
    resized = functional.interpolate(image[None].float(), tuple(size), mode="bilinear", align_corners=False)[0]
    return resized.round().clamp(0, 255).to(torch.uint8) if image.dtype == torch.uint8 else resized


def resize_classes(semantic: Tensor, size: Sequence[int]) -> Tensor:
    """Return a map of classes, `semantic` (H, W), at another size; a pixel takes the nearest above and left of it."""
    rows, columns = (torch.arange(new) * old // new for old, new in zip(semantic.shape, size, strict=True))
    return semantic[rows[:, None], columns]


def fitted(size: Sequence[int], long_side: float, short_side: float) -> tuple[int, int]:
    """Return the largest size of the same shape whose sides are at most `long_side` and `short_side`."""
    factor = min(long_side / max(size), short_side / min(size))
    return tuple(max(1, int(side * factor + 0.5)) for side in size)


def _maps_in(sample: Sample) -> dict[str, Tensor]:
    return {name: plain(sample[name]) for name in KINDS["maps"] if name in sample}


def _uniform(low: float, high: float) -> float:
    return torch.empty(1).uniform_(low, high).item()


def _check_sides(name: str, long_side: int, short_side: int) -> None:
    if not 0 < short_side <= long_side:
        raise UsageError(
            f"{name} got long_side={long_side} and short_side={short_side}: give two sides above 0, the short one at "
            "most as long as the long one."
        )


@TRANSFORMS.register_module()
class RandomScale(SampleTransform):
    """Resize to a random size of the same shape: a ratio times the largest that fits into two sides.

    Args:
        long_side, short_side: of the base, in pixels.
        ratio: range of the ratio.

    Raises:
        UsageError: sides or ratios that are not positive, or in another order.
    """

    takes = ("maps",)
    draws_by_torch_alone = True
    debug_arguments: ClassVar = _SMALL

    def __init__(self, long_side: int = 2048, short_side: int = 512, ratio: Sequence[float] = (0.5, 2.0)) -> None:
        _check_sides("RandomScale", long_side, short_side)
        if len(ratio) != 2 or not 0 < ratio[0] <= ratio[1]:
            raise UsageError(f"RandomScale got ratio={ratio!r}: give a pair (low, high) above 0, low first.")
        self.long_side, self.short_side, self.ratio = long_side, short_side, tuple(ratio)

    def move(self, sample: Sample) -> Sample:
        """Return image and maps, resized."""
        ratio = _uniform(*self.ratio)
        size = fitted(sample["inputs"].shape[1:], self.long_side * ratio, self.short_side * ratio)
        maps = {name: resize_classes(value, size) for name, value in _maps_in(sample).items()}
        return {**sample, "inputs": resize_image(plain(sample["inputs"]), size), **maps}


@TRANSFORMS.register_module()
class FitSize(SampleTransform):
    """Resize the image to the largest size of the same shape that fits into two sides (evaluation).

    The classes stay as they are: predictions are resized to them.

    Args:
        long_side, short_side: in pixels.

    Raises:
        UsageError: sides that are not positive, or in another order.
    """

    takes = ("maps",)
    draws_by_torch_alone = True
    debug_arguments: ClassVar = _SMALL

    def __init__(self, long_side: int = 2048, short_side: int = 512) -> None:
        _check_sides("FitSize", long_side, short_side)
        self.long_side, self.short_side = long_side, short_side

    def move(self, sample: Sample) -> Sample:
        """Return the image resized, and the classes."""
        size = fitted(sample["inputs"].shape[1:], self.long_side, self.short_side)
        return {**sample, "inputs": resize_image(plain(sample["inputs"]), size)}


@TRANSFORMS.register_module()
class ClassBalancedCrop(SampleTransform):
    """Crop a random box; one in which a class has too large a share is drawn again, up to ten times.

    What is smaller than the crop is filled up at the right and below.

    Args:
        size: height and width of the crop, or one number for both.
        max_share: largest share of one class among the pixels that count; 1 takes any box.
        ignore_index: class of pixels that count nothing, also where it is filled up.
        fill: grey level of each channel where the image is filled up.

    Raises:
        UsageError: a size that is not positive, a share out of range, or another number of channels than of `fill`.
    """

    takes = ("maps",)
    draws_by_torch_alone = True

    def __init__(
        self,
        size: int | Sequence[int],
        max_share: float = 0.75,
        ignore_index: int = 255,
        fill: Sequence[float] = tuple(round(v) for v in IMAGENET_MEAN),
    ) -> None:
        if not 0 < max_share <= 1:
            raise UsageError(f"ClassBalancedCrop got max_share={max_share}: give a share above 0 and at most 1.")
        self.size, self.max_share = to_size(size, "size"), max_share
        self.ignore_index, self.fill = ignore_index, tuple(fill)

    def move(self, sample: Sample) -> Sample:
        """Return the same box of image and maps.

        Raises:
            UsageError: an image of other channels than `fill`.
        """
        image, maps = plain(sample["inputs"]), _maps_in(sample)
        if len(image) != len(self.fill):
            raise UsageError(
                f"ClassBalancedCrop fills up {len(self.fill)} channels, but the image has {len(image)}: give fill one "
                "number for each."
            )
        box = self._draw(image.shape[1:])
        for _ in range(_TRIES if self.max_share < 1 and "semantic" in maps else 0):
            if self._is_mixed(maps["semantic"][box]):
                break
            box = self._draw(image.shape[1:])
        fill = {"semantic": self.ignore_index, "weight": False}
        maps = {name: self._filled(value[box][None], (fill[name],))[0] for name, value in maps.items()}
        return {**sample, "inputs": self._filled(image[(..., *box)], self.fill), **maps}

    def _draw(self, size: Sequence[int]) -> tuple[slice, slice]:
        starts = [int(torch.randint(max(side - own, 0) + 1, ())) for side, own in zip(size, self.size, strict=True)]
        return tuple(slice(start, start + own) for start, own in zip(starts, self.size, strict=True))

    def _is_mixed(self, semantic: Tensor) -> bool:
        counted = semantic[semantic != self.ignore_index]
        counts = counted.unique(return_counts=True)[1]
        return len(counts) > 1 and counts.max().item() < self.max_share * len(counted)

    def _filled(self, values: Tensor, fill: Sequence[float]) -> Tensor:
        """Return values (C, h, w), filled up to the size of the crop with one number for each channel."""
        height, width = values.shape[1:]
        if (height, width) == self.size:
            return values
        filled = torch.tensor(fill, dtype=values.dtype)[:, None, None].expand(-1, *self.size).clone()
        filled[:, :height, :width] = values
        return filled


@TRANSFORMS.register_module()
class PhotometricDistortion(SampleTransform):
    """Change brightness, contrast, saturation and hue, each with probability 1/2; contrast first or last by chance.

    Source: Liu et al., "SSD: single shot multibox detector" (2016), section 3.6, as in mmsegmentation.

    Args:
        brightness: largest grey level that is added or taken.
        contrast, saturation: ranges of the factors.
        hue: largest turn, in units of two degrees as OpenCV has them.
    """

    takes = ("maps", "objects")
    draws_by_torch_alone = True

    def __init__(
        self,
        brightness: float = 32,
        contrast: Sequence[float] = (0.5, 1.5),
        saturation: Sequence[float] = (0.5, 1.5),
        hue: int = 18,
    ) -> None:
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def move(self, sample: Sample) -> Sample:
        """Return the image changed, and all else as it was.

        Raises:
            UsageError: other than an 8-bit image of three channels.
        """
        image = plain(sample["inputs"])
        if image.dtype != torch.uint8 or len(image) != 3:
            raise UsageError(
                f"PhotometricDistortion got an image {format_size(image.shape)} of "
                f"{str(image.dtype).removeprefix('torch.')}, "
                "but changes 8-bit pictures in red, green and blue: take it out of the pipeline."
            )
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        first = _uniform(0, 1) < 0.5
        pixels = self._linear(pixels, 1.0, _uniform(-self.brightness, self.brightness))
        pixels = self._linear(pixels, _uniform(*self.contrast), 0.0) if first else pixels
        pixels = self._colours(pixels)
        pixels = pixels if first else self._linear(pixels, _uniform(*self.contrast), 0.0)
        return {**sample, "inputs": torch.from_numpy(pixels).permute(2, 0, 1)}

    @staticmethod
    def _linear(pixels: np.ndarray, factor: float, shift: float) -> np.ndarray:
        if _uniform(0, 1) < 0.5:
            return pixels
        return (pixels.astype(np.float32) * factor + shift).clip(0, 255).astype(np.uint8)

    def _colours(self, pixels: np.ndarray) -> np.ndarray:
        factor, turn = _uniform(*self.saturation), int(torch.randint(-self.hue, self.hue + 1, ()))
        saturates, turns = _uniform(0, 1) < 0.5, _uniform(0, 1) < 0.5
        if not (saturates or turns):
            return pixels
        hue, saturation, value = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV))
        if saturates:
            saturation = (saturation.astype(np.float32) * factor).clip(0, 255).astype(np.uint8)
        if turns:
            hue = ((hue.astype(np.int16) + turn) % 180).astype(np.uint8)
        return cv2.cvtColor(cv2.merge([hue, saturation, value]), cv2.COLOR_HSV2RGB)
