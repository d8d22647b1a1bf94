"""From bytes to a tensor (C, H, W): photographs by OpenCV, arrays and multi-band TIFF by NumPy and tifffile."""

import io
import os
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import tifffile
import torch
from PIL import Image
from torch import Tensor

from maetool.compat import silence_opencv
from maetool.errors import UsageError

from .jpeg import read_header

ARRAY_EXTENSIONS = (".npy", ".tif", ".tiff")
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", *ARRAY_EXTENSIONS)
BACKENDS = ("cv2", "pillow", "torchcodec")

_NPY = b"\x93NUMPY"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
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
_EXIF_ORIENTATION = 0x0112

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
        return f"{self.path}: {self.reason}"


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a file.

    Raises:
        UnreadableImage: missing, empty, or not to be read.
    """
    try:
        data = _content(path)
    except OSError as error:
        raise UnreadableImage(path, (error.strerror or str(error)).lower()) from error
    if not data:
        raise UnreadableImage(path, "the file is empty")
    return data


def _content(path: str | Path) -> bytes:
    # Python's own files ask the system for more than this, which makes them a quarter slower.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # Windows translates line ends without it
    try:
        size = os.fstat(descriptor).st_size
        data = os.read(descriptor, size)
        while len(data) < size and (more := os.read(descriptor, size - len(data))):  # a network may give it in parts
            data += more
        return data
    finally:
        os.close(descriptor)


def read_image(path: str | Path, in_chans: int = 3) -> Tensor:
    """Return the image in the file `path`; see `decode_image`.

    Raises:
        UnreadableImage: missing, empty, truncated, not an image, other channels than `in_chans`, or NaN or infinity.
    """
    return decode_image(read_bytes(path), in_chans, name=str(path))


def decode_image(
    data: bytes, in_chans: int = 3, backend: str = "cv2", reduction: int = 1, name: str = "these bytes"
) -> Tensor:
    """Return the image in the bytes of a file as a tensor (C, H, W) with C = `in_chans`, RGB where that is three.

    What a file is, its first bytes decide, not its name. Photographs are uint8 in 0..255: grey ones become three equal
    channels, alpha is dropped, 16 bits become 8, a palette or CMYK becomes RGB, and the EXIF rotation is not applied.
    Arrays (`.npy`, and TIFF that is not an 8-bit photograph) have the layout (H, W), (H, W, C) or (C, H, W); they
    stay uint8 or become float32 with values unchanged, so mean and std of the config are in the stored unit.

    Args:
        data: the content of a file.
        in_chans: number of channels; other than 1 or 3 only arrays can have.
        backend: "cv2"; "pillow", equal to Pillow's `convert` to the bit (16-bit grey is clipped to white); or
            "torchcodec", which decodes JPEG where that package is installed, OpenCV the rest.
        reduction: decode a JPEG file at 1/2, 1/4 or 1/8 of its size, the sides rounded up; "cv2" only.
        name: what to call the image where it turns out to be unreadable.

    Raises:
        UnreadableImage: empty, truncated, not an image, other channels than `in_chans`, or NaN or infinity.
    """
    try:
        if data.startswith(_NPY):
            pixels = _to_chw(_load_npy(data), in_chans)
        elif data.startswith(_TIFF):
            pixels = _decode_tiff(data, in_chans)
        else:
            return _decode_photo(data, in_chans, backend, reduction)
    except _Refused as error:
        raise UnreadableImage(name, error) from error
    return torch.from_numpy(pixels)


def is_array(data: bytes) -> bool:
    """Return whether the bytes are of a format for arrays, which may hold any channels and types."""
    return data.startswith((_NPY, *_TIFF))


def check_backend(backend: str) -> str:
    """Return the name of a backend that can be used here.

    Raises:
        UsageError: no such backend, or its package is not installed.
    """
    if backend not in BACKENDS:
        raise UsageError(f"backend is {backend!r}, but must be one of {', '.join(BACKENDS)}.")
    if backend == "torchcodec" and find_spec("torchcodec") is None:
        raise UsageError(
            'backend="torchcodec" needs a package that is not installed: pip install torchcodec, or leave backend out.'
        )
    return backend


class _Refused(Exception):
    """The reason why bytes give no image; `decode_image` adds the name."""


def _decode_photo(data: bytes, in_chans: int, backend: str, reduction: int) -> Tensor:
    if in_chans not in _DECODE_FLAGS:
        raise _Refused(f"not an array, but {in_chans} channels were expected: store it as .npy or .tiff")
    if backend == "torchcodec" and (image := _decode_by_torchcodec(data, in_chans)) is not None:
        return image
    pixels = None if backend == "pillow" else _decode_by_opencv(data, in_chans, reduction)
    # Pillow where OpenCV gives nothing: it knows more formats, and says what is wrong with a file.
    return torch.from_numpy(_decode_by_pillow(data, in_chans) if pixels is None else pixels)


def _decode_by_opencv(data: bytes, in_chans: int, reduction: int) -> np.ndarray | None:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _DECODE_FLAGS[in_chans] | _REDUCED_FLAGS[reduction])
    except cv2.error:
        return None
    if pixels is None:
        return None
    return pixels[None] if in_chans == 1 else pixels.transpose(2, 0, 1)


def _decode_by_torchcodec(data: bytes, in_chans: int) -> Tensor | None:
    from torchcodec.decoders import decode_jpeg  # optional, and slow to import

    # It rotates by EXIF, which no other backend does.
    header = read_header(data)
    if header is None or (header.has_exif and _orientation(data) != 1):
        return None
    try:
        return decode_jpeg(
            torch.frombuffer(bytearray(data), dtype=torch.uint8), mode="GRAY" if in_chans == 1 else "RGB"
        )
    except RuntimeError:
        return None


def _orientation(data: bytes) -> int | None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # see `_decode_by_pillow`
        return None


def _decode_by_pillow(data: bytes, in_chans: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.array(image.convert("L" if in_chans == 1 else "RGB"))
    except Image.UnidentifiedImageError as error:
        raise _Refused("not an image of a known format") from error
    except (
        Exception
    ) as error:  # Pillow's plugins raise whatever their parsing meets: OSError, SyntaxError, KeyError ...
        raise _Refused(f"{error or type(error).__name__}") from error
    return pixels[None] if in_chans == 1 else pixels.transpose(2, 0, 1)


def _load_npy(data: bytes) -> np.ndarray:
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # as with Pillow: a damaged header raises ValueError, TokenError, MemoryError ...
        if "Object arrays" in str(error):
            raise _Refused(
                "it holds Python objects, which can run code when they are loaded: save a plain array of numbers"
            ) from error
        raise _Refused(f"damaged .npy file ({error})") from error


def _decode_tiff(data: bytes, in_chans: int) -> np.ndarray:
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            array = None if _is_photo(tiff, in_chans) else tiff.asarray()
    except Exception as error:
        # As above; and tifffile leaves LZW, JPEG and others to the package imagecodecs, which its message says.
        raise _Refused(f"cannot read this TIFF ({error})") from error
    # Pillow, because OpenCV multiplies colours by alpha and scales 16-bit RGB wrongly in TIFF.
    return _decode_by_pillow(data, in_chans) if array is None else _to_chw(array, in_chans)


def _is_photo(tiff: tifffile.TiffFile, in_chans: int) -> bool:
    page, series = tiff.pages[0], tiff.series[0]
    eight_bit = series.dtype is not None and series.dtype.kind in "bu" and series.dtype.itemsize == 1
    one_page = len(series.shape) == (2 if page.samplesperpixel == 1 else 3)
    # Bands that are not declared as colours are an array: dropping the fourth as if it were alpha would be wrong.
    colours = page.samplesperpixel == 1 or page.photometric != tifffile.PHOTOMETRIC.MINISBLACK
    return in_chans in _DECODE_FLAGS and eight_bit and one_page and colours


def _to_chw(array: np.ndarray, in_chans: int) -> np.ndarray:
    """Return `array` as (C, H, W), uint8 or finite float32; the last axis wins where first and last could be C."""
    if array.ndim == 2 and in_chans == 1:
        array = array[None]
    elif array.ndim == 3 and array.shape[-1] == in_chans:
        array = array.transpose(2, 0, 1)
    elif array.ndim != 3 or array.shape[0] != in_chans:
        raise _Refused(f"an array of shape {array.shape}, but {in_chans} channels were expected")
    if array.size == 0 or array.dtype.kind not in "buif":
        raise _Refused(f"an array of shape {array.shape} and type {array.dtype}, which is no image")
    if array.dtype == np.uint8:
        return array if array.flags.writeable else array.copy()
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise _Refused("it holds NaN, infinity or values beyond float32")
    return array
