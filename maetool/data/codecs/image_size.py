"""How large an image is by its header, and how large it may be: decided before anything is decoded."""

import io
import threading
import warnings
import zlib
from collections.abc import Sequence
from struct import Struct

import numpy as np
from PIL import Image

from maetool.errors import UsageError

from .heif import NEEDS, is_heif, register
from .jpeg import SCAN, JpegHeader, read_header
from .png import HEAD, SIGNATURE, chunks

# 16,384 x 16,384. Pillow refuses at two thirds of it, but there are honest maps of classes of 16,000 x 16,000.
MAX_PIXELS = 2**28
RAISE_LIMIT = "raise dataset.max_pixels (--max-pixels of a tool)"
BY_WINDOWS = "read it by windows (a WindowSource around its source, dataset.window of segmentation)"
# For each of these pixels a file may have 8 bytes (16 bits of RGBA, float64), besides what it says about the image, and
# a decoded image 4 (uint8 of RGBA, float32 of one channel).
_STORED_BYTES, _FACTS, DECODED_BYTES = 8, 2**24, 4
# A decoder goes over a progressive JPEG once for each scan; usual are 10, and each may be a few bytes.
_MAX_SCANS = 100
# Those that occur under our file names. Pillow's others are left out: EPS, for one, starts Ghostscript.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "MPO", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "HEIF")

_BIG_PAIR, _PAIR, _INTS = Struct(">II"), Struct("<HH"), Struct("<ii")
_LIMIT_OF_PILLOW = threading.Lock()
# Pillow warns of odd facts in broken files; what makes an image unreadable is an exception. A user's filters go first.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.", append=True)


class Refused(Exception):
    """The reason why bytes give no image; who catches it adds the name."""


def chosen_limit(max_pixels: object) -> int:
    """Return the most pixels of an image, as a user chose it.

    Args:
        max_pixels: height * width at most; None is the default.

    Raises:
        UsageError: no positive whole number.
    """
    if max_pixels is None:
        return MAX_PIXELS
    if type(max_pixels) is not int or max_pixels < 1:
        raise UsageError(f"max_pixels is {max_pixels!r}: give the most pixels that an image may have, such as 2**28.")
    return max_pixels


def most_bytes(max_pixels: int) -> int:
    """Return how many bytes the file of an image of at most `max_pixels` may have."""
    return _STORED_BYTES * max_pixels + _FACTS


def photo_size(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return height and width of the photograph `data` from its header.

    Raises:
        Refused: not a photograph of a known format, a damaged header, or more than `max_pixels`.
    """
    if header := read_header(data):
        check_jpeg(header, data, max_pixels)
        return header.height, header.width
    if (size := _header_size(data)) is not None:
        check_pixels(*size, max_pixels)
        return size
    with open_by_pillow(data, max_pixels) as image:
        return image.height, image.width


def check_jpeg(header: JpegHeader, data: bytes, max_pixels: int) -> None:
    """Check that a JPEG file is decoded in bounded memory and time.

    Args:
        header: of the file.
        data: its content.
        max_pixels: height * width at most.

    Raises:
        Refused: more than `max_pixels`, or very many scans.
    """
    height, width = header.height, header.width
    check_pixels(height, width, max_pixels)
    if header.progressive and (scans := data.count(SCAN)) * height * width > _MAX_SCANS * max_pixels:
        raise Refused(f"a progressive JPEG of {scans:,} scans, which would keep a decoder busy: save it again")


def check_pixels(height: int, width: int, max_pixels: int) -> None:
    """Check the size of an image, `height` and `width` in pixels.

    Raises:
        Refused: more than `max_pixels`.
    """
    if height * width > max_pixels:
        raise Refused(
            f"it has {height:,} x {width:,} pixels, more than max_pixels={max_pixels:,} allows: {BY_WINDOWS}, "
            f"shrink it, or {RAISE_LIMIT}"
        )


def check_array(shape: Sequence[int], dtype: np.dtype, in_chans: int, max_pixels: int) -> None:
    """Check the size of an array, which stays uint8 or becomes float32.

    Args:
        shape: of the array, in any order.
        dtype: of its values.
        in_chans: channels of the image.
        max_pixels: height * width at most.

    Raises:
        Refused: more than `max_pixels`, or more than `DECODED_BYTES` for each of so many.
    """
    values = 1
    for side in shape:
        values *= int(side)
    size = values * (1 if dtype == np.uint8 else max(4, dtype.itemsize))
    if values // in_chans > max_pixels or size > DECODED_BYTES * max_pixels:
        raise Refused(
            f"an array of shape {tuple(map(int, shape))} and type {dtype}, {size:,} bytes, more than max_pixels="
            f"{max_pixels:,} allows at {DECODED_BYTES} bytes each: {BY_WINDOWS}, or {RAISE_LIMIT}"
        )


def open_by_pillow(data: bytes, max_pixels: int | None = MAX_PIXELS) -> Image.Image:
    """Return the image `data`, of which Pillow has read the header, no larger than `max_pixels` where that is given.

    Raises:
        Refused: not an image of a known format, or a larger one.
    """
    Image.init()
    if is_heif(data) and not register():
        raise Refused(NEEDS)
    formats = [name for name in _FORMATS if name in Image.OPEN]
    try:
        # Pillow's own limit is one for the process, and is not ours.
        with _LIMIT_OF_PILLOW:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(io.BytesIO(data), formats=formats)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except Image.UnidentifiedImageError as error:
        raise Refused("not an image of a known format") from error
    except Exception as error:  # its plugins raise whatever their parsing meets: OSError, SyntaxError, KeyError ...
        raise Refused(f"{error or type(error).__name__}") from error
    if max_pixels is not None:
        check_pixels(image.height, image.width, max_pixels)
    return image


def _header_size(data: bytes) -> tuple[int, int] | None:
    """Return height and width where the format keeps them at a fixed place, else None."""
    if data.startswith(SIGNATURE):
        return _size_of_png(data)
    if len(data) < 30:
        return None
    if data[:6] in (b"GIF87a", b"GIF89a"):
        width, height = _PAIR.unpack_from(data, 6)
    elif data[:2] == b"BM":
        width, height = (_PAIR if data[14] == 12 else _INTS).unpack_from(data, 18)  # the first is OS/2's
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        width, height = _size_of_webp(data)
    else:
        return None
    return abs(height), abs(width)


def _size_of_png(data: bytes) -> tuple[int, int] | None:
    """Return the largest size that a PNG file states; chunks are checked as libpng does, but it writes about them."""
    sizes, view = [], memoryview(data)
    for kind, place, end in chunks(data):
        length = end - place - HEAD.size - 4
        if end > len(data):
            raise Refused(f"cut off or damaged: its chunk {kind!r} should have {length:,} bytes")
        needed = not kind[0] & 32  # lower case says that a decoder may do without
        if needed and zlib.crc32(view[place + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise Refused(f"damaged: the checksum of its chunk {kind!r} does not match")
        if kind == b"IHDR" and length >= _BIG_PAIR.size:
            width, height = _BIG_PAIR.unpack_from(data, place + HEAD.size)
            sizes.append((height, width))
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _size_of_webp(data: bytes) -> tuple[int, int]:
    """Return width and height of the three kinds of WebP (RFC 9649)."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = _PAIR.unpack_from(data, 26)
    return width & 0x3FFF, height & 0x3FFF
