"""Windows of pictures that are too large to be decoded as a whole, or better cut."""

import io
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from maetool.reading import npy_header, read_head

from .arrays import is_array
from .deep import decode_deep, is_deep
from .image_size import (
    MAX_PIXELS,
    RAISE_LIMIT,
    Refused,
    check_jpeg,
    check_pixels,
    most_bytes,
    open_by_pillow,
    photo_size,
)
from .images import decode_image, decode_jpeg, read_bytes
from .jpeg import read_header
from .orientation import TAG, UPRIGHT, orientation_of
from .tiff import MAGIC, tiff_of
from .tiff_windows import TiffWindows, Window

_NPY = b"\x93NUMPY"
_HEAD = 400  # bytes, as far as NIfTI's mark
_REDUCTIONS = 4  # of JPEG: 1, 1/2, 1/4 and 1/8
_GREY = ("1", "L", "LA", "I", "I;16", "F")
_SHORT = 3  # TIFF's type of whole numbers below 65,536


class Windows(Protocol):
    """A picture of which windows are read.

    Attributes:
        size: (H, W) of the level that windows are cut from.
        holds_pixels: whether the whole level stays in memory.
    """

    size: tuple[int, int]
    holds_pixels: bool

    def encode(self, window: Window) -> bytes:
        """Return a window as the content of a TIFF or `.npy` file, its values as stored.

        Raises:
            Refused, UnreadableImage: it cannot be read.
            Exception: whatever a damaged file makes the readers raise.
        """


def open_windows(place: str | bytes, level: int = 0, max_pixels: int = MAX_PIXELS) -> Windows:
    """Return the windows of a picture, of which as little as possible is read.

    Args:
        place: path of the file, or its content.
        level: of a TIFF, the level of its pyramid; of a JPEG file, how often its sides are halved, up to 3; of other
            pictures 0.
        max_pixels: most pixels of what is decoded at once.

    Raises:
        Refused: no picture that has windows, no such level, or one that is too large.
        UnreadableImage: it cannot be read.
        Exception: whatever a damaged file makes the readers raise.
    """
    head = place[:_HEAD] if isinstance(place, bytes) else read_head(place, _HEAD)
    if head.startswith(MAGIC):
        return TiffWindows(place, level, max_pixels)
    if head.startswith(_NPY):
        return ArrayWindows(place, level, max_pixels)
    if is_array(head):
        raise Refused("a scan of slices or frames: wrap the source in a FrameSource, not in a WindowSource")
    data = place if isinstance(place, bytes) else read_bytes(place, most_bytes(max_pixels << 2 * level))
    return PictureWindows(data, level, max_pixels)


class PictureWindows:
    """Windows of a photograph, which is decoded as a whole, a JPEG file reduced, and stays in memory.

    Pictures of a palette or of one bit keep their numbers, which are classes where they are masks.

    Args:
        data: the content of the file.
        level: see `open_windows`.
        max_pixels: most pixels of the decoded picture.

    Raises:
        Refused: it is too large, or has no such level.
    """

    holds_pixels = True

    def __init__(self, data: bytes, level: int, max_pixels: int) -> None:
        self.data, self.max_pixels, self._pixels = data, max_pixels, None
        header = read_header(data)
        self._reduction = 1 << level
        if header is None or level >= _REDUCTIONS:
            if level:
                kind = "a JPEG file has the levels 0 to 3" if header else "only TIFF and JPEG have levels other than 0"
                raise Refused(f"it has no level {level}, because {kind}: lower WindowSource.level")
            self.size = photo_size(data, max_pixels)
        else:
            self.size = -(-header.height // self._reduction), -(-header.width // self._reduction)
            # What a progressive file holds until its last scan does not shrink with the result.
            check_jpeg(header, data, max_pixels if header.progressive else max_pixels * self._reduction**2)
            check_pixels(*self.size, max_pixels)
        self._is_jpeg = header is not None
        with open_by_pillow(data, None) as image:
            self._channels = 1 if image.mode in (*_GREY, "P") else 3
            self._numbers = image.mode in ("1", "P")
            self._palette = _palette_of(image) if image.mode == "P" else None
        self._orientation = orientation_of(data, header)

    def encode(self, window: Window) -> bytes:
        """Return a window as a TIFF, which states the orientation that the picture states."""
        if self._pixels is None:
            self._pixels = self._decoded()
        values = self._pixels[(slice(None), *window.slices)].transpose(1, 2, 0)
        values = values[..., 0] if self._channels == 1 else values
        return photograph_file(values, self._orientation, self._palette)

    def _decoded(self) -> np.ndarray:
        if self._numbers:
            with open_by_pillow(self.data, self.max_pixels) as image:
                return np.array(image)[None]
        if is_deep(self.data):
            return decode_deep(self.data, self._channels, self.max_pixels)
        if self._is_jpeg:
            return decode_jpeg(self.data, self._channels, "cv2", self._reduction, "it", self.max_pixels).numpy()
        return decode_image(self.data, self._channels, max_pixels=self.max_pixels).numpy()


def _palette_of(picture: Image.Image) -> np.ndarray:
    """Return the palette of a picture of Pillow as a TIFF has it, uint16 (3, 256)."""
    colours = np.zeros((256, 3), np.uint16)
    found = np.array(picture.getpalette("RGB") or (), np.uint16).reshape(-1, 3)[:256]
    colours[: len(found)] = found * 257
    return colours.T


def photograph_file(pixels: np.ndarray, orientation: int = UPRIGHT, palette: np.ndarray | None = None) -> bytes:
    """Return a TIFF of a photograph.

    Args:
        pixels: (H, W), grey or numbers of colours, or (H, W, 3), RGB.
        orientation: what it states, see `orientation_of`.
        palette: uint16 (3, 256), the colours; None, there are none.
    """
    facts: dict[str, Any] = {"photometric": "minisblack" if pixels.ndim == 2 else "rgb"}
    if palette is not None:
        facts = {"photometric": "palette", "colormap": palette}
    if orientation != UPRIGHT:
        facts["extratags"] = [(TAG, _SHORT, 1, orientation, True)]
    return tiff_of(pixels, metadata=None, software=False, **facts)


class ArrayWindows:
    """Windows of a `.npy` file (H, W), (H, W, C) or (C, H, W), whose shortest axis is that of the channels.

    Args:
        place: path of the file, or its content.
        level: 0.
        max_pixels: most pixels of a window.

    Raises:
        Refused: another level, other axes, or no numbers.
    """

    holds_pixels = False

    def __init__(self, place: str | bytes, level: int, max_pixels: int) -> None:
        if level:
            raise Refused(f"it has no level {level}, because only TIFF and JPEG have levels: lower WindowSource.level")
        self.max_pixels = max_pixels
        try:
            if isinstance(place, bytes):
                shape, dtype, fortran, start = npy_header(place)
                array = np.ndarray(shape, dtype, place, start, order="F" if fortran else "C")
            else:
                array = np.load(Path(place), mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise Refused(f".npy file: {error}") from error
        if array.ndim not in (2, 3) or array.dtype.kind not in "buif" or not array.size:
            raise Refused(f"an array of shape {array.shape} and type {array.dtype}, which is no image")
        if array.ndim == 3 and array.shape[0] < array.shape[2]:
            array = array.transpose(1, 2, 0)
        self._array = array
        self.size = int(array.shape[0]), int(array.shape[1])

    def encode(self, window: Window) -> bytes:
        """Return a window as a `.npy` file (H, W) or (H, W, C)."""
        values = self._array[window.slices]
        if values.nbytes > 4 * self.max_pixels:
            raise Refused(f"a window of {values.nbytes:,} bytes: lower WindowSource.size, or {RAISE_LIMIT}")
        np.save(file := io.BytesIO(), np.ascontiguousarray(values), allow_pickle=False)
        return file.getvalue()
