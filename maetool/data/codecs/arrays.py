"""Arrays as images: `.npy` and TIFF of any channels and types."""

import io
import logging
import lzma
import zlib

import numpy as np
import tifffile

from maetool.reading import npy_header, read_npy

from .image_size import DECODED_BYTES, RAISE_LIMIT, Refused, check_array

_NPY = b"\x93NUMPY"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
# The kinds of compression that tifffile inflates itself, without a bound.
_DEFLATE, _LZMA = (8, 32946, 50013), (34925,)
_MOST_BY_DEFLATE = 1032  # bytes that one byte can become
_LZMA_TAKES = 2**27  # bytes; the largest of its usual presets, 9, takes 65 MB
_MAX_PAGES = 10_000

# tifffile logs what it dislikes about each broken file; the exception says the same in one sentence.
if logging.getLogger("tifffile").level == logging.NOTSET:
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)


def is_array(data: bytes) -> bool:
    """Return whether the bytes are of a format for arrays, which may hold any channels and types."""
    return data.startswith((_NPY, *_TIFF))


def array_shape(data: bytes) -> tuple[int, ...]:
    """Return the shape of the array in the bytes of a file, from its header.

    Raises:
        Exception: whatever a damaged file makes the readers raise.
    """
    if data.startswith(_NPY):
        return npy_header(data)[0]
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        return tiff.series[0].shape


def decode_array(data: bytes, in_chans: int, photo: bool, max_pixels: int) -> np.ndarray | None:
    """Return the array in the bytes of a file as (C, H, W), uint8 or finite float32; the last axis wins as channels.

    Args:
        data: the content of a file.
        in_chans: C.
        photo: return None for a TIFF that is an 8-bit photograph.
        max_pixels: see `image_size.check_array`.

    Raises:
        Refused: damaged, too large, of other channels, or with NaN or infinity.
    """
    if not data.startswith(_NPY):
        array = _decode_tiff(data, in_chans, photo, max_pixels)
        return None if array is None else _to_chw(array, in_chans)
    try:
        shape, dtype, *_ = npy_header(data)
        check_array(shape, dtype, in_chans, max_pixels)
        return _to_chw(read_npy(data), in_chans)
    except ValueError as error:
        raise Refused(f".npy file: {error}") from error


def _decode_tiff(data: bytes, in_chans: int, photo: bool, max_pixels: int) -> np.ndarray | None:
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            if len(tiff.pages) > _MAX_PAGES:
                raise Refused(f"a TIFF of {len(tiff.pages):,} pages, more than {_MAX_PAGES:,}")
            series = tiff.series[0]
            check_array(series.shape, series.dtype or np.dtype(np.uint8), in_chans, max_pixels)
            if photo and _is_photo(tiff):
                return None
            for page in series.pages:
                _check_inflation(page, data, DECODED_BYTES * max_pixels)
            return tiff.asarray(maxworkers=1)  # loaders have a process for each core
    except Refused:
        raise
    except Exception as error:
        # Whatever a damaged file raises; tifffile leaves LZW, JPEG and others to imagecodecs, which its message says.
        raise Refused(f"cannot read this TIFF ({error})") from error


def _is_photo(tiff: tifffile.TiffFile) -> bool:
    page, series = tiff.pages[0], tiff.series[0]
    eight_bit = series.dtype is not None and series.dtype.kind in "bu" and series.dtype.itemsize == 1
    one_page = len(series.shape) == (2 if page.samplesperpixel == 1 else 3)
    # Bands that are not declared as colours are an array: dropping the fourth as if it were alpha would be wrong.
    colours = page.samplesperpixel == 1 or page.photometric != tifffile.PHOTOMETRIC.MINISBLACK
    return eight_bit and one_page and colours


def _check_inflation(page: tifffile.TiffPage | tifffile.TiffFrame | None, data: bytes, most: int) -> None:
    """Inflate the parts of a page that could become more than `most` bytes, up to that; LZMA also states its memory."""
    kind = int(page.keyframe.compression) if page is not None else 0
    if kind not in (*_DEFLATE, *_LZMA):
        return
    for start, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        part = data[start : start + count]
        if kind in _DEFLATE and len(part) * _MOST_BY_DEFLATE <= most:
            continue
        inflater = zlib.decompressobj() if kind in _DEFLATE else lzma.LZMADecompressor(memlimit=max(most, _LZMA_TAKES))
        if len(inflater.decompress(part, most + 1)) > most:
            raise Refused(f"a part of this TIFF becomes more than {most:,} bytes: {RAISE_LIMIT}")


def _to_chw(array: np.ndarray, in_chans: int) -> np.ndarray:
    """Return `array` as (C, H, W), uint8 or finite float32; the last axis wins where first and last could be C."""
    if array.ndim == 2 and in_chans == 1:
        array = array[None]
    elif array.ndim == 3 and array.shape[-1] == in_chans:
        array = array.transpose(2, 0, 1)
    elif array.ndim != 3 or array.shape[0] != in_chans:
        raise Refused(f"an array of shape {array.shape}, but {in_chans} channels were expected")
    if array.size == 0 or array.dtype.kind not in "buif":
        raise Refused(f"an array of shape {array.shape} and type {array.dtype}, which is no image")
    if array.dtype == np.uint8:
        return array if array.flags.writeable else array.copy()
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise Refused("it holds NaN, infinity or values beyond float32")
    return array
