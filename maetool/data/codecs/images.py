"""From bytes to a tensor (C, H, W): photographs by OpenCV and Pillow, arrays by the libraries of their formats."""

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from maetool.compat import is_installed, silence_opencv
from maetool.errors import UsageError
from maetool.reading import read_file

from .arrays import decode_array, is_array
from .deep import decode_deep, is_deep
from .endings import ARRAY_EXTENSIONS as ARRAY_EXTENSIONS  # also the names that users of images look for here
from .endings import IMAGE_EXTENSIONS as IMAGE_EXTENSIONS
from .image_size import BY_WINDOWS, MAX_PIXELS, RAISE_LIMIT, Refused, most_bytes, open_by_pillow, photo_size
from .jpeg import read_header
from .options import AS_STORED, ReadOptions
from .orientation import UPRIGHT, orientation_of, stored_pixels, turned
from .png import without_remarks

BACKENDS = ("cv2", "pillow", "torchcodec")

_DECODE_FLAGS = {
    1: cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION,
    3: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION,
}
# OpenCV's names for these say grey or BGR, but what they add to the flags above is the size alone.
_REDUCED_FLAGS = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

# OpenCV writes several lines to the terminal for each broken file; `UnreadableImage` says the same in one sentence.
if "OPENCV_LOG_LEVEL" not in os.environ:
    silence_opencv()


class UnreadableImage(Exception):
    """A file that gives no image.

    Attributes:
        path: the file.
        reason: why, in one line.
    """

    def __init__(self, path: str | Path, reason: object) -> None:
        super().__init__(path, reason)
        self.path = str(path)
        self.reason = " ".join(str(reason).split())

    def __str__(self) -> str:
        return " ".join(f"{self.path}: {self.reason}".splitlines())


def read_bytes(path: str | Path, most: int | None = None) -> bytes:
    """Return the content of the file `path`, at most `most` bytes; None is as many as `MAX_PIXELS` allow.

    Raises:
        UnreadableImage: missing, empty, larger, not to be read, or not a regular file.
    """
    try:
        data = read_file(path, most_bytes(MAX_PIXELS) if most is None else most)
    except OSError as error:
        cure = f": {BY_WINDOWS}, or {RAISE_LIMIT} if it is an image" if error.errno == errno.EFBIG else ""
        raise UnreadableImage(path, (error.strerror or str(error)).lower() + cure) from error
    if not data:
        raise UnreadableImage(path, "the file is empty")
    return data


def read_image(
    path: str | Path, in_chans: int = 3, max_pixels: int = MAX_PIXELS, options: ReadOptions = AS_STORED
) -> Tensor:
    """Return the image in the file `path`; `max_pixels` and `options` as in `decode_image`.

    Raises:
        UnreadableImage: missing, empty, truncated, not an image, too large, other channels than `in_chans`, or NaN or
            infinity.
    """
    data = read_bytes(path, most_bytes(max_pixels))
    return decode_image(data, in_chans, name=str(path), max_pixels=max_pixels, options=options)


def decode_image(
    data: bytes,
    in_chans: int = 3,
    backend: str = "cv2",
    reduction: int = 1,
    name: str = "these bytes",
    max_pixels: int = MAX_PIXELS,
    options: ReadOptions = AS_STORED,
) -> Tensor:
    """Return the image in the bytes of a file as a tensor (C, H, W) with C = `in_chans`, RGB where that is three.

    What a file is, its first bytes decide, not its name. Photographs are uint8 in 0..255, or float32 of the stored
    values where they have more than 8 bits: grey ones become three equal channels, alpha is dropped, a palette or CMYK
    becomes RGB, and of several frames the first is taken.
    Arrays (`.npy`, DICOM, NIfTI, and TIFF that is not an 8-bit photograph) have the layout (H, W), (H, W, C) or
    (C, H, W); they stay uint8 or become float32 with values unchanged, so mean and std of the config are in the stored
    unit. DICOM and NIfTI have the unit of their rescaling.

    Args:
        data: the content of a file.
        in_chans: number of channels; other than 1 or 3 only arrays can have.
        backend: "cv2"; "pillow", equal to Pillow's `convert` to the bit; or "torchcodec", which decodes JPEG where that
            package is installed, OpenCV the rest. OpenCV decodes more than 8 bits whatever the backend.
        reduction: decode a JPEG file at 1/2, 1/4 or 1/8 of its size, the sides rounded up; "cv2" only.
        name: what to call the image where it turns out to be unreadable.
        max_pixels: most pixels, H x W, and 4 bytes for each of so many: C channels of float32 have `max_pixels / C`.
            The header decides, before anything is decoded. Decoding takes up to 8 bytes for each pixel by OpenCV, 15 by
            Pillow, which is asked where OpenCV fails, and 22 for WebP by Pillow.
        options: see `ReadOptions`.

    Raises:
        UnreadableImage: empty, truncated, not an image, too large, other channels than `in_chans`, or NaN or infinity
            where `options.gaps` is not set.
    """
    try:
        if is_array(data):
            pixels = decode_array(data, in_chans, in_chans in _DECODE_FLAGS, max_pixels, options.gaps)
            # Pillow, because OpenCV multiplies colours by alpha and scales 16-bit RGB wrongly in TIFF.
            image = torch.from_numpy(_decode_by_pillow(data, in_chans, max_pixels) if pixels is None else pixels)
        elif is_deep(data):
            pixels = decode_deep(data, in_chans, max_pixels, options.eight_bit)
            image = torch.from_numpy(pixels)
        else:
            _check_channels(in_chans)
            photo_size(data, max_pixels)
            image = _decode_photo(data, in_chans, backend, reduction, max_pixels)
    except Refused as error:
        raise UnreadableImage(name, error) from error
    return turned(image, orientation_of(data, read_header(data))) if options.exif else image


def decode_jpeg(
    data: bytes, in_chans: int, backend: str, reduction: int, name: str, max_pixels: int = MAX_PIXELS
) -> Tensor:
    """Return the image in a JPEG file that `check_jpeg` has seen, without a second look at its header.

    Args:
        data, in_chans, backend, reduction, name, max_pixels: see `decode_image`.

    Raises:
        UnreadableImage: truncated, or `in_chans` other than 1 and 3.
    """
    try:
        _check_channels(in_chans)
        return _decode_photo(data, in_chans, backend, reduction, max_pixels)
    except Refused as error:
        raise UnreadableImage(name, error) from error


def _check_channels(in_chans: int) -> None:
    if in_chans not in _DECODE_FLAGS:
        raise Refused(f"a photograph, but {in_chans} channels were expected: save it as .npy or .tiff")


def check_backend(backend: str) -> str:
    """Return the name of a backend that can be used here.

    Raises:
        UsageError: no such backend, or its package is not installed.
    """
    if backend not in BACKENDS:
        raise UsageError(f"backend is {backend!r}, but must be one of {', '.join(BACKENDS)}.")
    if backend == "torchcodec" and not is_installed("torchcodec"):
        raise UsageError(
            'backend="torchcodec" needs a package that is not installed: pip install torchcodec, or leave backend out.'
        )
    return backend


def _decode_photo(data: bytes, in_chans: int, backend: str, reduction: int, max_pixels: int) -> Tensor:
    if backend == "torchcodec" and (image := _decode_by_torchcodec(data, in_chans)) is not None:
        return image
    pixels = None if backend == "pillow" else _decode_by_opencv(data, in_chans, reduction)
    # Pillow where OpenCV gives nothing: it knows more formats, and says what is wrong with a file.
    return torch.from_numpy(_decode_by_pillow(data, in_chans, max_pixels) if pixels is None else pixels)


def _decode_by_opencv(data: bytes, in_chans: int, reduction: int) -> np.ndarray | None:
    encoded = np.frombuffer(without_remarks(data), np.uint8)
    try:
        pixels = cv2.imdecode(encoded, _DECODE_FLAGS[in_chans] | _REDUCED_FLAGS[reduction])
    except cv2.error:
        return None
    if pixels is None:
        return None
    return pixels[None] if in_chans == 1 else pixels.transpose(2, 0, 1)


def _decode_by_torchcodec(data: bytes, in_chans: int) -> Tensor | None:
    from torchcodec.decoders import decode_jpeg  # optional, and slow to import

    # It rotates by EXIF, which no other backend does.
    header = read_header(data)
    if header is None or orientation_of(data, header) != UPRIGHT:
        return None
    try:
        return decode_jpeg(
            torch.frombuffer(bytearray(data), dtype=torch.uint8), mode="GRAY" if in_chans == 1 else "RGB"
        )
    except RuntimeError:
        return None


def _decode_by_pillow(data: bytes, in_chans: int, max_pixels: int) -> np.ndarray:
    mode = "L" if in_chans == 1 else "RGB"
    try:
        with open_by_pillow(data, max_pixels) as image:
            pixels = stored_pixels(image, mode)
    except Refused:
        raise
    except Exception as error:  # see `open_by_pillow`
        raise Refused(f"{error or type(error).__name__}") from error
    return pixels[None] if in_chans == 1 else pixels.transpose(2, 0, 1)
