"""Windows of a TIFF of any size: only the tiles, strips or rows that a window touches are read."""

import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tifffile

from maetool.compat import is_installed, read_at

from .geotiff import tags_of_window
from .image_size import DECODED_BYTES, RAISE_LIMIT, Refused, check_array
from .tiff import NEEDS, PLAIN, check_part, name_of_compression, open_tiff, tiff_of

_JPEG_KINDS = {6, 7, 34892, 33007}  # which share tables (TIFF Technical Note 2)
_MOST_PAGES = 1000  # as channels
_AT_ONCE = 2**20  # bytes; rows of an uncompressed part that are read with what lies beside the window


class Window(NamedTuple):
    """A part of an image, in pixels.

    Attributes:
        top, left: its first row and column.
        height, width: its size.
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


class TiffWindows:
    """The first image of a TIFF, of which windows are read.

    Args:
        place: path of the file, or its content.
        level: of a pyramid; 0 is the full size.
        max_pixels: most pixels of a window, and 4 bytes for each of so many for any part that must be decoded.
        page: number of a page to read alone; None, all that belong to the first image.

    Attributes:
        size: (H, W) of the level.
        levels: sizes of all levels.
        holds_pixels: False, nothing of them stays in memory.

    Raises:
        Refused: no such level, or a kind of TIFF that cannot be read in parts.
        Exception: whatever a damaged file makes tifffile raise.
    """

    holds_pixels = False

    def __init__(self, place: str | bytes, level: int, max_pixels: int, page: int | None = None) -> None:
        self.max_pixels = max_pixels
        self._file = PlacedBytes(place)
        with open_tiff(place) as tiff:
            levels = [each.pages for each in tiff.series[0].levels] if page is None else [[tiff.pages[page]]]
            if page is None and tiff.series[0].size > sum(each.size for each in levels[0] if each is not None):
                raise Refused("a stack of frames behind one page: wrap the source in a FrameSource")
            heads = [next(each.keyframe for each in pages if each is not None) for pages in levels]
            self.levels = [(int(head.imagelength), int(head.imagewidth)) for head in heads]
            if level >= len(levels):
                sizes = ", ".join(f"{height:,} x {width:,}" for height, width in self.levels)
                raise Refused(
                    f"it has no level {level}, but {len(levels)}, of {sizes} pixels: lower WindowSource.level"
                )
            self.size = self.levels[level]
            self._pages = [each for each in levels[level] if each is not None]
            self._head = heads[level]
            # Read here, while the file is open.
            self._parts = [(page.dataoffsets, page.databytecounts, _tables(page)) for page in self._pages]
            _ = self._head.decode, self._head.nodata
            is_palette = self._head.photometric == tifffile.PHOTOMETRIC.PALETTE
            self._colours = self._head.colormap if is_palette else None
            self._tags = tags_of_window(heads[0])
            self._order = tiff.byteorder
        self._check()

    def read(self, window: Window) -> np.ndarray:
        """Return the stored values of a window, (H, W) or (H, W, C).

        Raises:
            Refused: it, or a part that it touches, is too large.
            Exception: whatever a damaged file makes tifffile raise.
        """
        head = self._head
        separate = head.samplesperpixel if head.planarconfig == tifffile.PLANARCONFIG.SEPARATE else 1
        shape = (separate, window.height, window.width, 1 if separate > 1 else head.samplesperpixel)
        check_array(
            (len(self._pages), *shape), np.dtype(head.dtype), len(self._pages) * math.prod(shape[::3]), self.max_pixels
        )
        pages = [
            self._of_page(number, window, np.full(shape, head.nodata, head.dtype)) for number in range(len(self._pages))
        ]
        values = np.concatenate([np.moveaxis(page, 0, -1).reshape(*page.shape[1:3], -1) for page in pages], axis=-1)
        return values[..., 0] if values.shape[-1] == 1 else values

    def encode(self, window: Window) -> bytes:
        """Return a window as a TIFF, which says of its pixels what the whole says, and where they lie on the earth."""
        head, values = self._head, self.read(window)
        photometric = head.photometric
        if head.bitspersample == 1:
            white = photometric == tifffile.PHOTOMETRIC.MINISWHITE
            values, photometric = np.where(values != white, np.uint8(255), np.uint8(0)), tifffile.PHOTOMETRIC.MINISBLACK
        elif photometric == tifffile.PHOTOMETRIC.YCBCR:  # decoded to RGB
            photometric = tifffile.PHOTOMETRIC.RGB
        facts: dict[str, Any] = {"photometric": photometric, "metadata": None, "software": False}
        if values.ndim == 3:
            facts["planarconfig"] = "contig"
        if head.extrasamples and len(self._pages) == 1:
            facts["extrasamples"] = head.extrasamples
        if self._colours is not None:
            facts["colormap"] = self._colours
        factors = self.levels[0][0] / self.size[0], self.levels[0][1] / self.size[1]
        facts["extratags"] = self._tags.of(window.top, window.left, *factors)
        return tiff_of(values, **facts)

    def _check(self) -> None:
        head, kind = self._head, int(self._head.compression)
        if (kind not in PLAIN or head.predictor == 3) and not is_installed("imagecodecs"):
            raise Refused(f"TIFF with {name_of_compression(head)} compression needs {NEEDS}")
        if head.imagedepth > 1 or len(self._pages) > _MOST_PAGES or (len(self._pages) > 1 and head.samplesperpixel > 1):
            raise Refused("a TIFF of several pages or of volumes: wrap the source in a FrameSource")
        if 1 < head.bitspersample < 8:
            raise Refused(f"a TIFF of {head.bitspersample} bits a channel has no windows here: save it with 8 bits")
        if head.photometric == tifffile.PHOTOMETRIC.YCBCR and kind not in _JPEG_KINDS:
            raise Refused("a TIFF in YCbCr without JPEG compression has no windows here: save it in RGB")
        height, width = self._part_size
        stored = (
            height * width * (head.samplesperpixel if head.planarconfig == 1 else 1) * max(1, head.bitspersample // 8)
        )
        if not self._is_plain and stored > DECODED_BYTES * self.max_pixels:
            raise Refused(
                f"a window needs a complete strip or tile, and they have {stored:,} bytes: save it with tiles, or "
                f"{RAISE_LIMIT}"
            )

    @property
    def _part_size(self) -> tuple[int, int]:
        """Rows and columns of a tile or strip."""
        head = self._head
        if head.is_tiled:
            return int(head.tilelength), int(head.tilewidth)
        return min(int(head.rowsperstrip), int(head.imagelength)), int(head.imagewidth)

    @property
    def _is_plain(self) -> bool:
        """Whether rows can be read without decoding."""
        head = self._head
        return (
            int(head.compression) == 1 and head.predictor == 1 and head.fillorder == 1 and head.bitspersample % 8 == 0
        )

    def _of_page(self, number: int, window: Window, out: np.ndarray) -> np.ndarray:
        """Fill `out` (P, H, W, C) with a window of a page; P are channels that are stored apart."""
        height, width = self._part_size
        across = -(-self.size[1] // width)
        down = -(-self.size[0] // height)
        for plane in range(len(out)):
            for row in range(window.top // height, -(-(window.top + window.height) // height)):
                for column in range(window.left // width, -(-(window.left + window.width) // width)):
                    index = (plane * down + row) * across + column
                    self._copy_part(number, index, (row * height, column * width), window, out[plane])
        return out

    def _copy_part(self, page: int, index: int, corner: tuple[int, int], window: Window, out: np.ndarray) -> None:
        """Copy what a tile or strip, whose first pixel is `corner`, has of a window into `out` (H, W, C)."""
        height, width = self._part_size
        top, left = max(window.top, corner[0]), max(window.left, corner[1])
        bottom = min(window.top + window.height, corner[0] + height)
        right = min(window.left + window.width, corner[1] + width)
        inner = Window(top - corner[0], left - corner[1], bottom - top, right - left)
        if self._is_plain:
            values = self._rows(page, index, inner)
        else:
            values = self._decoded(page, index)
            values = None if values is None else values[inner.slices]
        if values is not None:
            out[top - window.top : bottom - window.top, left - window.left : right - window.left] = values

    def _decoded(self, page: int, index: int) -> np.ndarray | None:
        """Return a tile or strip (H, W, C), None where the file leaves it out."""
        offsets, counts, tables = self._parts[page]
        if not counts[index]:
            return None
        data = self._file.read(offsets[index], counts[index])
        check_part(self._head, data, self.max_pixels)
        values = self._head.decode(data, index, **tables)[0]
        return None if values is None else values[0]

    def _rows(self, page: int, index: int, inner: Window) -> np.ndarray | None:
        """Return a window of an uncompressed tile or strip."""
        offsets, counts, _ = self._parts[page]
        if not counts[index]:
            return None
        head = self._head
        samples = head.samplesperpixel if head.planarconfig == tifffile.PLANARCONFIG.CONTIG else 1
        kind = np.dtype(head.dtype).newbyteorder(self._order)
        pixel, width = samples * kind.itemsize, self._part_size[1]
        together = inner.height * width * pixel <= _AT_ONCE
        left, columns = (0, width) if together else (inner.left, inner.width)
        rows = range(inner.top, inner.top + inner.height)
        starts = [inner.top] if together else rows
        length = columns * pixel * (inner.height if together else 1)
        data = b"".join(self._file.read(offsets[index] + (row * width + left) * pixel, length) for row in starts)
        values = np.frombuffer(data, kind).reshape(inner.height, columns, samples)
        return values[:, inner.left - left :][:, : inner.width]


def _tables(page: Any) -> dict[str, Any]:
    if int(page.keyframe.compression) not in _JPEG_KINDS:
        return {}
    return {"jpegtables": page.jpegtables, "jpegheader": page.keyframe.jpegheader}


class PlacedBytes:
    """The bytes of a file, or of its content; any number of threads may read."""

    def __init__(self, place: str | bytes) -> None:
        self.content = place if isinstance(place, bytes) else None
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # no wait for a pipe
        self.file = os.fdopen(os.open(place, flags), "rb", buffering=0) if isinstance(place, str) else None

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from the place `offset`.

        Raises:
            Refused: there are not so many.
        """
        if self.content is not None:
            data = self.content[offset : offset + count]
        else:
            data = b"".join(self._pieces(offset, count))
        if len(data) != count:
            raise Refused("cut off: a part of its pixels lies beyond its end")
        return data

    def _pieces(self, offset: int, count: int) -> Iterator[bytes]:
        while self.file and count > 0 and (data := read_at(self.file.fileno(), min(count, 2**30), offset)):
            yield data
            offset, count = offset + len(data), count - len(data)
