"""Images far longer than wide, whose resizing to cover a size would take unbounded work."""

from torch import Tensor

from maetool.data.codecs.encoded import EncodedImage, decoded, size_of

from .sample import Sample, with_each

_LONGEST = 32  # times as long as wide; what is longer loses its ends


def _middle_of(height: int, width: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the middle of an image, which is at most `_LONGEST` times as long as wide.

    A strip of 8 x 8,000 pixels that is to cover 256 x 256 would have 256,000 columns.
    """
    rows, columns = min(height, _LONGEST * width), min(width, _LONGEST * height)
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def without_ends(image: Tensor | EncodedImage) -> Tensor | EncodedImage:
    """Return the middle of an image that is a strip; any other as it is, undecoded."""
    height, width = size_of(image)
    if max(height, width) <= _LONGEST * min(height, width):
        return image
    return _cut_box(decoded(image), _middle_of(height, width))


def with_middle(sample: Sample) -> Sample:
    """Return the middle of image, maps and objects of a strip; any other sample as it is."""
    from torchvision.transforms.v2.functional import crop

    height, width = sample["inputs"].shape[-2:]
    if max(height, width) <= _LONGEST * min(height, width):
        return sample
    box = _middle_of(height, width)
    return with_each(sample, lambda image: _cut_box(image, box), lambda truth: crop(truth, *box))


def _cut_box(image: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    top, left, height, width = box
    return image[..., top : top + height, left : left + width]
