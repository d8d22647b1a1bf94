"""Crops and resizing of images (C, H, W), uint8 staying uint8, and of what lies on them.

A clip (C, T, H, W) becomes a clip: what is drawn is drawn once, for all of its frames.
Each resize is bicubic with antialiasing; over random crops uint8 differs from Pillow's by 0.03 grey levels in the mean.
Classes and masks are those of the nearest pixel. Random draws come from torch's default generator, which `ImageDataset`
seeds with the key of the sample.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from maetool.data.codecs.encoded import EncodedImage, cropped, decoded
from maetool.data.codecs.encoded import size_of as size_in
from maetool.data.codecs.resize import resize
from maetool.errors import UsageError
from maetool.registry import TRANSFORMS

from .sample import PhotoTransform, Sample, with_each
from .strips import with_middle, without_ends

_TRIES = 10  # of a box that fits; then the largest box of a legal ratio in the centre is taken, as by torchvision


@TRANSFORMS.register_module()
class RandomResizedCrop(PhotoTransform):
    """Crop a random box and resize it to `size`, as in Inception training; torchvision's box of the same draws.

    Args:
        size: height and width of the output in pixels, or one number for both.
        scale: range of the box's share of the image's area.
        ratio: range of the box's width divided by its height.

    Raises:
        UsageError: a size that is not positive, or a range that is empty or not positive, or a scale above 1.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.2, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
    ) -> None:
        self.size = size_of(size)
        self.scale = range_of("scale", scale, highest=1.0)
        self.ratio = range_of("ratio", ratio)
        self._log_ratio = [math.log(side) for side in self.ratio]

    def image(self, image: Tensor | EncodedImage) -> Tensor:
        """Return a random crop; of a photograph in a JPEG file, only as much is decoded as the crop needs."""
        return cropped(image, self.draw_box(*size_in(image)), self.size)  # (C, H, W)

    def move(self, sample: Sample) -> Sample:
        """Return a random crop of image, maps and objects."""
        from torchvision.transforms.v2.functional import resized_crop

        box = self.draw_box(*sample["inputs"].shape[1:])
        size = list(self.size)
        return with_each(
            sample, lambda image: cropped(image, box, self.size), lambda truth: resized_crop(truth, *box, size)
        )

    def draw_box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return top, left, height and width of a random box in an image of the given size, in pixels."""
        for _ in range(_TRIES):
            box_height, box_width = self._draw_sides(height, width)
            if 0 < box_height <= height and 0 < box_width <= width:
                return _place(box_height, box_width, height, width)
        box_height = min(height, round(width / self.ratio[0]))
        box_width = min(width, round(height * self.ratio[1]))
        return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width

    def _draw_sides(self, height: int, width: int) -> tuple[int, int]:
        # torchvision's draws one by one take three times as long as this, a fortieth of the time of a photograph.
        of_scale, of_ratio = torch.rand(2).tolist()
        area = height * width * _between(*self.scale, of_scale)
        ratio = math.exp(_between(*self._log_ratio, of_ratio))
        return round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))


@TRANSFORMS.register_module()
class SingleDrawCrop(RandomResizedCrop):
    """A `RandomResizedCrop` whose box is drawn once and cut to the image, where that one draws until it fits.

    It is the crop of MAE's linear probe. Source: `util/crop.py` of facebookresearch/mae.

    Args:
        size, scale, ratio: see `RandomResizedCrop`.
    """

    def draw_box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return top, left, height and width of a random box in an image of the given size, in pixels."""
        box_height, box_width = self._draw_sides(height, width)
        return _place(min(box_height, height), min(box_width, width), height, width)


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def _place(box_height: int, box_width: int, height: int, width: int) -> tuple[int, int, int, int]:
    top = torch.randint(height - box_height + 1, ()).item()
    return top, torch.randint(width - box_width + 1, ()).item(), box_height, box_width


@TRANSFORMS.register_module()
class ResizeCenterCrop(PhotoTransform):
    """Resize so that the image just covers `size * resize_ratio`, then cut `size` from the centre (evaluation).

    For a size of 224 and the usual ratio the short side becomes 256, as in facebookresearch/mae. An image more than 32
    times as long as wide loses its ends first.

    Args:
        size: height and width of the output in pixels, or one number for both.
        resize_ratio: how much larger than `size` the image is made, at least 1.

    Raises:
        UsageError: a size that is not positive, or a ratio below 1.
    """

    def __init__(self, size: int | Sequence[int], resize_ratio: float = 256 / 224) -> None:
        if not resize_ratio >= 1:
            raise UsageError(f"ResizeCenterCrop got resize_ratio={resize_ratio}: give a number of at least 1.")
        self.size = size_of(size)
        self.cover = tuple(round(side * resize_ratio) for side in self.size)

    def image(self, image: Tensor | EncodedImage) -> Tensor:
        """Return the middle of the resized image."""
        large = _resize_to_cover(without_ends(image), self.cover)
        top, left = (round((has - size) / 2) for has, size in zip(large.shape[-2:], self.size, strict=True))
        return large[..., top : top + self.size[0], left : left + self.size[1]].contiguous()  # (C, H, W)

    def move(self, sample: Sample) -> Sample:
        """Return the middle of image, maps and objects."""
        from torchvision.transforms.v2.functional import crop, resize

        sample = with_middle(sample)
        large = _size_to_cover(sample["inputs"].shape[-2:], self.cover)
        top, left = (round((has - size) / 2) for has, size in zip(large, self.size, strict=True))
        return with_each(sample, self.image, lambda truth: crop(resize(truth, list(large)), top, left, *self.size))


@TRANSFORMS.register_module()
class ResizeRandomCrop(PhotoTransform):
    """Resize so that the image just covers `size`, mirror it beyond its edges, and cut `size` at a random place.

    Nearly the whole image stays in view ("simple resized crop"; Touvron et al., "DeiT III", section 3.2, as PixMIM and
    MFF use it). The published code resizes bilinearly, this one bicubically as everywhere here.

    Args:
        size: height and width of the output in pixels, or one number for both.
        padding: pixels that are added on every side.

    Raises:
        UsageError: a size that is not positive, or a padding that is negative or not smaller than the size.
    """

    takes = ("encoded", "maps")  # mirrored objects would be there twice

    def __init__(self, size: int | Sequence[int], padding: int = 4) -> None:
        self.size = size_of(size)
        if type(padding) is not int or not 0 <= padding < min(self.size):
            raise UsageError(f"ResizeRandomCrop got padding={padding!r}: give a whole number of pixels below the size.")
        self.padding = padding
        import torchvision.transforms.v2  # noqa: F401  a second long: here, so that no worker has to; most need it not

    def image(self, image: Tensor | EncodedImage) -> Tensor:
        """Return a random piece of the resized image."""
        large = _resize_to_cover(without_ends(image), self.size)
        return self._cut(large, self._draw(large.shape[-2:])).contiguous()  # (C, H, W)

    def move(self, sample: Sample) -> Sample:
        """Return a random piece of image and maps."""
        from torchvision.transforms.v2.functional import resize

        sample = with_middle(sample)
        size = _size_to_cover(sample["inputs"].shape[-2:], self.size)
        place = self._draw(size)
        return with_each(
            sample,
            lambda image: self._cut(_resize_to_cover(image, self.size), place).contiguous(),
            lambda truth: self._cut(resize(truth, list(size)), place),
        )

    def _draw(self, size: Sequence[int]) -> tuple[int, int]:
        spare = [full + 2 * self.padding - side for full, side in zip(size, self.size, strict=True)]
        top, left = (int(torch.randint(number + 1, ())) for number in spare)
        return top, left

    def _cut(self, large: Tensor, place: tuple[int, int]) -> Tensor:
        from torchvision.transforms.v2.functional import crop, pad

        return crop(pad(large, [self.padding] * 4, padding_mode="reflect"), *place, *self.size)


@TRANSFORMS.register_module()
class Resize(PhotoTransform):
    """Resize the whole image to `size`, whatever its proportions.

    Args:
        size: height and width of the output in pixels, or one number for both.

    Raises:
        UsageError: a size that is not positive.
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = size_of(size)

    def image(self, image: Tensor | EncodedImage) -> Tensor:
        """Return the resized image."""
        return _resize_whole(image, self.size)  # (C, H, W)

    def move(self, sample: Sample) -> Sample:
        """Return image, maps and objects, resized."""
        from torchvision.transforms.v2.functional import resize

        return with_each(sample, self.image, lambda truth: resize(truth, list(self.size)))


def _resize_to_cover(image: Tensor | EncodedImage, cover: tuple[int, int]) -> Tensor:
    """Resize an image so that it just covers (rows, columns)."""
    return _resize_whole(image, _size_to_cover(decoded(image).shape[-2:], cover))


def _size_to_cover(size: Sequence[int], cover: tuple[int, int]) -> tuple[int, int]:
    """Return the size at which an image of `size` just covers (rows, columns)."""
    (height, width), (rows, columns) = size, cover
    # The side that needs the larger enlargement fits exactly; the other is cut to whole pixels as torchvision does.
    if rows * width >= columns * height:
        columns = max(columns, rows * width // height)
    else:
        rows = max(rows, columns * height // width)
    return rows, columns


def _resize_whole(image: Tensor | EncodedImage, size: tuple[int, int]) -> Tensor:
    by_pillow = isinstance(image, EncodedImage) and image.backend == "pillow"
    return resize(decoded(image), size, by_pillow)


def size_of(size: int | Sequence[int]) -> tuple[int, int]:
    """Return height and width in pixels of an argument `size` that gives both, or one number for both.

    Raises:
        UsageError: something else.
    """
    pair = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else ()
    if len(pair) != 2 or not all(type(side) is int and side > 0 for side in pair):
        raise UsageError(f"A transform got size={size!r}: give one positive whole number of pixels or a pair (h, w).")
    return pair


def range_of(
    name: str, limits: Sequence[float], highest: float = float("inf"), owner: str = "RandomResizedCrop"
) -> tuple[float, float]:
    """Return `limits` as a pair (low, high) of positive numbers, the argument `name` of the transform `owner`.

    Raises:
        UsageError: something else, or a high below the low or above `highest`.
    """
    pair = tuple(limits) if isinstance(limits, Sequence) and not isinstance(limits, str) else ()
    if len(pair) != 2 or not 0 < pair[0] <= pair[1] <= highest:
        bound = f", at most {highest:g}" if highest < float("inf") else ""
        raise UsageError(
            f"{owner} got {name}={limits!r}: give a pair (low, high) of positive numbers{bound}, low first."
        )
    return pair
