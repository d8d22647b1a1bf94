"""What one image is like: its size, its channels and values, and what tells it from others."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maetool.data.codecs.arrays import array_shape, is_array
from maetool.data.codecs.image_size import MAX_PIXELS, most_bytes, open_by_pillow
from maetool.data.codecs.images import UnreadableImage, decode_image
from maetool.data.codecs.options import AS_STORED, ReadOptions
from maetool.data.codecs.remarks import Traits, traits_of
from maetool.data.sources.base import Source

_GREY = ("1", "L", "LA", "I", "I;16", "F")  # Pillow's modes that `decode_image` gives one channel of


@dataclass(frozen=True)
class Look:
    """An image that was looked at.

    Attributes:
        index: its place in its source.
        channels: how many it holds, see `channels_of`.
        array: it is an array, no photograph.
        eight_bit: it holds 8-bit values.
        whole: all values are whole numbers.
        grey: all channels are equal.
        gaps: it holds NaN or infinity, or the file says that a value marks pixels without data.
        size: (H, W).
        lowest, highest: its values, in the stored unit.
        uniform: each channel has one value everywhere.
        moments: means of the values and of their squares, float64 (2, C).
        traits: what may ask for a choice.
        digest: of its pixels, equal for equal ones.
    """

    index: int
    channels: int
    array: bool
    eight_bit: bool
    whole: bool
    grey: bool
    gaps: bool
    size: tuple[int, int]
    lowest: float
    highest: float
    uniform: bool
    moments: np.ndarray
    traits: Traits
    digest: bytes


@dataclass(frozen=True)
class Broken:
    """An image that cannot be read, "path: reason"."""

    index: int
    line: str


def look_at(
    files: Source,
    indices: Iterable[int],
    in_chans: int,
    workers: int = 1,
    max_pixels: int = MAX_PIXELS,
    options: ReadOptions = AS_STORED,
) -> Iterator[Look | Broken]:
    """Yield a look at each of some files, in their order.

    Args:
        files: the images.
        indices: which of them.
        in_chans: channels to read them with.
        workers: threads that read and decode.
        max_pixels: see `decode_image`.
        options: how they are read; with `gaps` these do not count in the values.
    """
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda index: _look(files, index, in_chans, max_pixels, options), indices)


def _look(files: Source, index: int, in_chans: int, max_pixels: int, options: ReadOptions) -> Look | Broken:
    try:
        path, data = files.read(index, most_bytes(max_pixels))
        image = decode_image(data, in_chans, name=path, max_pixels=max_pixels, options=options)  # (C, H, W)
        channels = channels_of(data, path)
    except UnreadableImage as error:
        return Broken(index, str(error))
    eight_bit = image.dtype == torch.uint8
    values = image if eight_bit or not options.gaps else image[:, image.isfinite().all(dim=0)]
    if not values.numel():
        return Broken(index, f"{path}: it has no pixel with data")
    lowest, highest = torch.aminmax(values.flatten(1), dim=1)  # of each channel
    return Look(
        index=index,
        channels=channels,
        array=is_array(data),
        eight_bit=eight_bit,
        whole=eight_bit or bool((values == values.floor()).all()),
        grey=bool((values == values[:1]).all()),
        gaps=values.shape[1:].numel() < image.shape[1:].numel(),
        size=(int(image.shape[1]), int(image.shape[2])),
        lowest=float(lowest.min()),
        highest=float(highest.max()),
        uniform=bool((lowest == highest).all()),
        moments=_moments(values),
        traits=traits_of(data, values),
        digest=_digest(image),
    )


def _moments(values: Tensor) -> np.ndarray:
    """Return the means of values (C, *) and of their squares, float64 (2, C)."""
    pixels = values.flatten(1).double() if values.numel() < 2**22 else values.flatten(1).float()
    var, mean = torch.var_mean(pixels, dim=1, correction=0)
    return torch.stack([mean, var + mean**2]).double().numpy()


def _digest(image: Tensor) -> bytes:
    stored = np.ascontiguousarray(image.numpy())
    digest = hashlib.blake2b(f"{stored.dtype} {stored.shape}".encode(), digest_size=16)
    digest.update(stored.data)
    return digest.digest()


def fitting_channels(files: Source, indices: Iterable[int], max_pixels: int = MAX_PIXELS) -> int:
    """Return the channels to read some files with: 1 where all are grey, else see `usual_channels`.

    Args:
        files: the images.
        indices: of those that are looked at.
        max_pixels: height * width of an image at most.
    """
    indices, found = list(indices), set[int]()
    for index in indices:
        try:
            path, data = files.read(index, most_bytes(max_pixels))
            found.add(channels_of(data, path))
        except UnreadableImage:
            continue
    return 1 if found == {1} else usual_channels(files, indices, max_pixels)


def usual_channels(files: Source, indices: Iterable[int], max_pixels: int = MAX_PIXELS) -> int:
    """Return the commonest number of channels of some files; photographs count as 3.

    Args:
        files: the images.
        indices: of those that are looked at.
        max_pixels: height * width of an image at most.
    """
    counts: dict[int, int] = {}
    for index in indices:
        try:
            path, data = files.read(index, most_bytes(max_pixels))
            number = channels_of(data, path) if is_array(data) else 3
        except UnreadableImage:
            continue
        counts[number] = counts.get(number, 0) + 1
    return max(counts, key=counts.__getitem__) if counts else 3


def channels_of(data: bytes, name: str) -> int:
    """Return how many channels an image holds; alpha is not counted, a palette is 3.

    Of an array with three axes the shorter of the first and the last is taken for the channels.

    Args:
        data: content of the file.
        name: what errors call it.

    Raises:
        UnreadableImage: the bytes are no image.
    """
    try:
        if is_array(data):
            shape = array_shape(data)
            return 1 if len(shape) == 2 else min(shape[0], shape[-1])
        with open_by_pillow(data, None) as image:
            return 1 if image.mode in _GREY else 3
    except Exception as error:  # whatever a damaged file makes the readers raise
        raise UnreadableImage(name, error) from error
