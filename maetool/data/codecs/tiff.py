"""TIFF as arrays: any channels and types, tiled or not, of more than 4 GB or less, compressed or not."""

import io
import logging
import lzma
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import tifffile

from maetool.compat import is_installed

from .image_size import DECODED_BYTES, RAISE_LIMIT, Refused, check_array, photo_size

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
NEEDS = "imagecodecs, which is not installed: pip install imagecodecs, or save it with deflate compression"
_MAX_PAGES = 10_000
_NODATA_TAG = 42113  # GDAL's, text
_KIND = tifffile.COMPRESSION
_LZMA_TAKES = 2**27  # bytes; the largest of its usual presets, 9, takes 65 MB

# tifffile logs what it dislikes about each broken file; the exception says the same in one sentence.
if logging.getLogger("tifffile").level == logging.NOTSET:
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)


def tiff_shape(data: bytes) -> tuple[int, ...]:
    """Return the shape of the first image of the TIFF `data`.

    Raises:
        Exception: whatever a damaged file makes tifffile raise.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        return tiff.series[0].shape


def decode_tiff(data: bytes, in_chans: int, photo: bool, max_pixels: int, gaps: bool = False) -> np.ndarray | None:
    """Return the first image of a TIFF as it is stored, or None where it is an 8-bit photograph and `photo` is set.

    Args:
        data: the content of a file.
        in_chans: expected channels, for the limit.
        photo: see above.
        max_pixels: see `image_size.check_array`.
        gaps: give float32 with NaN where the file says that there is no data (GDAL's tag), if it says so.

    Raises:
        Refused: damaged, too large, or of a compression that cannot be read here.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            if len(tiff.pages) > _MAX_PAGES:
                raise Refused(f"a TIFF of {len(tiff.pages):,} pages, more than {_MAX_PAGES:,}")
            series = tiff.series[0]
            check_array(series.shape, series.dtype or np.dtype(np.uint8), in_chans, max_pixels)
            nodata = nodata_of(tiff.pages[0]) if gaps else None
            if photo and nodata is None and _is_photo(tiff):
                return None
            array = _pixels(tiff, data, max_pixels)
            return array if nodata is None else np.where(array == nodata, np.nan, array.astype(np.float32))
    except Refused:
        raise
    except Exception as error:  # whatever a damaged file raises
        raise Refused(f"cannot read this TIFF ({error})") from error


def nodata_of(page: tifffile.TiffPage | tifffile.TiffFrame) -> float | None:
    """Return the value that marks pixels without data by GDAL's tag of a page, None where there is none."""
    tag = page.keyframe.tags.get(_NODATA_TAG)
    try:
        return None if tag is None else float(str(tag.value).strip("\0 "))
    except ValueError:
        return None


def stated_nodata(data: bytes) -> float | None:
    """Return what a file says to mark pixels without data; None where it is no TIFF or says nothing."""
    if not data.startswith(MAGIC):
        return None
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            return nodata_of(tiff.pages[0])
    except Exception:  # whatever a damaged file raises; the decoder says it
        return None


def _pixels(tiff: tifffile.TiffFile, data: bytes, max_pixels: int) -> np.ndarray:
    series = tiff.series[0]
    kind, page = int(series.keyframe.compression), series.keyframe
    if kind not in PLAIN and not is_installed("imagecodecs"):
        return _by_opencv(tiff, data, kind)
    if page.predictor == 3 and not is_installed("imagecodecs"):
        raise Refused(f"its predictor for floating point needs {NEEDS} without a predictor")
    for part in series.pages:
        _check_inflation(part, data, max_pixels)
    return tiff.asarray(maxworkers=1)  # loaders have a process for each core


def _by_opencv(tiff: tifffile.TiffFile, data: bytes, kind: int) -> np.ndarray:
    """Return an LZW file by OpenCV, which was compared with imagecodecs: right for pages of 1 or 3 joined channels."""
    page, name = tiff.pages[0], getattr(tiff.series[0].keyframe.compression, "name", kind)
    joined = page.planarconfig == tifffile.PLANARCONFIG.CONTIG and page.samplesperpixel in (1, 3)
    if kind != _KIND.LZW or not joined or len(tiff.series[0].pages) > 1:
        raise Refused(f"TIFF with {name} compression needs {NEEDS}")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != page.dtype or pixels.shape != page.shape:
        raise Refused(f"TIFF with {name} compression of this kind needs {NEEDS}")
    return np.ascontiguousarray(pixels[..., ::-1]) if pixels.ndim == 3 else pixels


def _is_photo(tiff: tifffile.TiffFile) -> bool:
    page, series = tiff.pages[0], tiff.series[0]
    eight_bit = series.dtype is not None and series.dtype.kind in "bu" and series.dtype.itemsize == 1
    one_page = len(series.shape) == (2 if page.samplesperpixel == 1 else 3)
    # Bands that are not declared as colours are an array: dropping the fourth as if it were alpha would be wrong.
    colours = page.samplesperpixel == 1 or page.photometric != tifffile.PHOTOMETRIC.MINISBLACK
    return eight_bit and one_page and colours and page.compression not in _NOT_BY_PILLOW


def _inflate(part: bytes, most: int) -> int:
    return len(zlib.decompressobj().decompress(part, most))


def _inflate_lzma(part: bytes, most: int) -> int:
    return len(lzma.LZMADecompressor(memlimit=max(most, _LZMA_TAKES)).decompress(part, most))


def _inflate_zstd(part: bytes, most: int) -> int:
    import imagecodecs

    try:
        return len(imagecodecs.zstd_decode(part, out=most))
    except imagecodecs.ZstdError:  # it does not fit, or is damaged
        return most


# What tifffile reads itself, and all kinds with what a byte can become at most and how that is tried.
PLAIN = (_KIND.NONE, _KIND.PACKBITS, _KIND.DEFLATE, _KIND.ADOBE_DEFLATE, _KIND.PIXTIFF, _KIND.LZMA)
_NEVER: Callable[[bytes, int], int] = lambda part, most: 0  # noqa: E731
_BOUNDS: dict[int, tuple[float, Callable[[bytes, int], int]]] = {
    _KIND.NONE: (1, _NEVER),
    _KIND.PACKBITS: (64, _NEVER),
    _KIND.LZW: (2800, _NEVER),  # a word of 12 bits stands for 4,096 bytes at most
    **dict.fromkeys((_KIND.DEFLATE, _KIND.ADOBE_DEFLATE, _KIND.PIXTIFF), (1032, _inflate)),
    _KIND.LZMA: (float("inf"), _inflate_lzma),
    _KIND.ZSTD: (float("inf"), _inflate_zstd),
}
_NOT_BY_PILLOW = {_KIND.JPEG2000, _KIND.APERIO_JP2000_YCBC, _KIND.APERIO_JP2000_RGB, _KIND.WEBP, _KIND.ZSTD}
# Photographs by themselves, whose headers say how large they become.
_PHOTOS = {_KIND.JPEG, _KIND.ALT_JPEG, _KIND.JPEG2000, _KIND.APERIO_JP2000_YCBC, _KIND.APERIO_JP2000_RGB, _KIND.WEBP}


def _check_inflation(page: tifffile.TiffPage | tifffile.TiffFrame | None, data: bytes, max_pixels: int) -> None:
    """Check that no part of a page becomes more than an image may have; LZMA also states its memory."""
    if page is None:  # filled with one value
        return
    kind, most = page.keyframe.compression, DECODED_BYTES * max_pixels
    ratio = _BOUNDS.get(kind, (float("inf"), _NEVER))[0]
    for start, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        if count and (kind in _PHOTOS or count * ratio > most):
            check_part(page, data[start : start + count], max_pixels)


def check_part(page: tifffile.TiffPage | tifffile.TiffFrame, part: bytes, max_pixels: int) -> None:
    """Check that a tile or strip of a page does not become more than an image may have.

    Args:
        page: its page.
        part: its bytes, compressed.
        max_pixels: see `decode_tiff`.

    Raises:
        Refused: it does, or it is of a compression that cannot be read.
    """
    kind, most = page.keyframe.compression, DECODED_BYTES * max_pixels
    if kind not in _BOUNDS and kind not in _PHOTOS:
        raise Refused(f"TIFF with {name_of_compression(page)} compression: save it with LZW, deflate or zstd")
    ratio, inflate = _BOUNDS.get(kind, (0, _NEVER))
    if kind in _PHOTOS:
        photo_size(part, max_pixels)
    elif len(part) * ratio > most and inflate(part, most + 1) > most:
        raise Refused(f"a part of this TIFF becomes more than {most:,} bytes: {RAISE_LIMIT}")


def name_of_compression(page: tifffile.TiffPage | tifffile.TiffFrame) -> str:
    """Return what the compression of a page is called."""
    kind = page.keyframe.compression
    return str(getattr(kind, "name", kind))


def open_tiff(place: str | bytes) -> tifffile.TiffFile:
    """Open the TIFF at a path, or in its content, `place`, without the other files that an OME-TIFF may name.

    Raises:
        Exception: whatever a damaged file makes tifffile raise.
    """
    return tifffile.TiffFile(place if isinstance(place, str) else io.BytesIO(place), _multifile=False)


def is_stack(place: str | bytes) -> bool:
    """Return whether a single page of the TIFF `place` is followed by the pixels of more frames.

    Raises:
        Exception: whatever a damaged file makes tifffile raise.
    """
    with open_tiff(place) as tiff:
        series = tiff.series[0]
        return len(series.pages) == 1 and series.size > series.keyframe.size and series.dataoffset is not None


def tiff_of(values: np.ndarray, **facts: Any) -> bytes:
    """Return `values` as the content of a TIFF; `facts` are what `tifffile.TiffWriter.write` takes."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(np.ascontiguousarray(values), **facts)
    return file.getvalue()
