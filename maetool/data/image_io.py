"""From a file to a tensor (C, H, W): photographs by OpenCV, arrays and multi-band TIFF by NumPy and tifffile."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
import tifffile
import torch
from PIL import Image
from torch import Tensor

ARRAY_EXTENSIONS = (".npy", ".tif", ".tiff")
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", *ARRAY_EXTENSIONS)

_NPY = b"\x93NUMPY"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_DECODE_FLAGS = {
    1: cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION,
    3: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION,
}

# OpenCV writes several lines to the terminal for each broken file; `UnreadableImage` says the same in one sentence.
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


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


def read_image(path: str | Path, in_chans: int = 3) -> Tensor:
    """Return the image in `path` as a tensor (C, H, W) with C = `in_chans`, RGB where that is three.

    What a file is, its first bytes decide, not its name. Photographs are uint8 in 0..255: grey ones become three equal
    channels, alpha is dropped, 16 bits become 8, a palette or CMYK becomes RGB, and the EXIF rotation is not applied.
    Arrays (`.npy`, and TIFF that is not an 8-bit photograph) have the layout (H, W), (H, W, C) or (C, H, W); they
    stay uint8 or become float32 with values unchanged, so mean and std of the config are in the stored unit.

    Args:
        path: the file.
        in_chans: number of channels; other than 1 or 3 only arrays can have.

    Raises:
        UnreadableImage: missing, empty, truncated, not an image, other channels than `in_chans`, or NaN or infinity.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UnreadableImage(path, (error.strerror or str(error)).lower()) from error
    if not data:
        raise UnreadableImage(path, "the file is empty")
    try:
        return torch.from_numpy(_decode(data, in_chans))
    except _Refused as error:
        raise UnreadableImage(path, error) from error


class _Refused(Exception):
    """The reason why bytes give no image; `read_image` adds the path."""


def _decode(data: bytes, in_chans: int) -> np.ndarray:
    if data.startswith(_NPY):
        return _to_chw(_load_npy(data), in_chans)
    if data.startswith(_TIFF):
        return _decode_tiff(data, in_chans)
    return _decode_photo(data, in_chans)


def _decode_photo(data: bytes, in_chans: int) -> np.ndarray:
    if in_chans not in _DECODE_FLAGS:
        raise _Refused(f"not an array, but {in_chans} channels were expected: store it as .npy or .tiff")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _DECODE_FLAGS[in_chans])
    except cv2.error:
        pixels = None
    if pixels is None:
        return _decode_by_pillow(data, in_chans)
    return pixels[None] if in_chans == 1 else pixels.transpose(2, 0, 1)


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
