"""The frames of one file, each as the content of a file of its own: slices of scans, pages, frames of animations."""

import io
import math
import threading
from typing import Protocol

import numpy as np
from PIL import Image

from .deep import is_deep
from .dicom import decode_dicom, dicom_shape, is_dicom
from .image_size import Refused, check_array, most_bytes, open_by_pillow
from .images import read_bytes
from .nifti import Volume, is_nifti
from .orientation import orientation_of
from .tiff import MAGIC as TIFF
from .tiff import is_stack, open_tiff, tiff_of
from .tiff_windows import PlacedBytes, TiffWindows, Window
from .windows import photograph_file

_MOST_FRAMES = 100_000
_NOT_FRAMES = 1 | 4  # of a page's subfile type: smaller copies, as of a pyramid, and masks
# Formats whose further series are thumbnails, labels and overviews of a slide.
_SLIDES = {"svs", "ndpi", "scn", "philips", "bif", "qpi"}


class Frames(Protocol):
    """The frames of a file.

    Attributes:
        count: how many there are.
    """

    count: int

    def encode(self, frame: int) -> bytes:
        """Return a frame, from 0, as the content of an image file.

        Raises:
            Refused: it is too large, or cannot be read.
            Exception: whatever a damaged file makes the readers raise.
        """


def open_frames(place: str | bytes, axis: int, max_pixels: int) -> Frames:
    """Return the frames of a file; a file of one frame is that frame as it is.

    Args:
        place: the content of the file, or the path of a TIFF, of which the frames alone are read.
        axis: of the patient, across which a NIfTI is cut, see `Volume`.
        max_pixels: most pixels of a frame, and 4 bytes for each of so many.

    Raises:
        Refused: no image, a larger one, or one of very many frames.
        Exception: whatever a damaged file makes the readers raise.
    """
    frames: Frames
    if isinstance(place, str) or place.startswith(TIFF):
        frames = _Stack(place, max_pixels) if is_stack(place) else _Pages(place, max_pixels)
        return _checked(frames, place, max_pixels)
    data = place
    if is_nifti(data):
        frames = _Slices(data, axis, max_pixels)
    elif is_dicom(data):
        frames = _DicomFrames(data, max_pixels)
    else:
        frames = _Pictures(data, max_pixels)
    return frames if is_nifti(data) else _checked(frames, data, max_pixels)


def _checked(frames: Frames, place: str | bytes, max_pixels: int) -> Frames:
    if frames.count > _MOST_FRAMES:
        raise Refused(f"it has {frames.count:,} frames, more than the {_MOST_FRAMES:,} that are read: cut the file")
    return _Single(place, max_pixels) if frames.count == 1 else frames


def _npy(array: np.ndarray) -> bytes:
    np.save(file := io.BytesIO(), np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


class _Single:
    count = 1

    def __init__(self, place: str | bytes, max_pixels: int) -> None:
        self.place, self.max_pixels = place, max_pixels

    def encode(self, frame: int) -> bytes:
        return self.place if isinstance(self.place, bytes) else read_bytes(self.place, most_bytes(self.max_pixels))


class _Slices:
    def __init__(self, data: bytes, axis: int, max_pixels: int) -> None:
        self.axis, self.max_pixels, self.volume = axis, max_pixels, Volume(data, max_pixels)
        self.count = self.volume.sides[axis] * self.volume.times

    def encode(self, frame: int) -> bytes:
        time, index = divmod(frame, self.volume.sides[self.axis])
        sides = [side for axis, side in enumerate(self.volume.sides) if axis != self.axis]
        check_array(sides, np.dtype(np.float32), 1, self.max_pixels)
        return _npy(self.volume.slice(self.axis, index, time))


class _DicomFrames:
    def __init__(self, data: bytes, max_pixels: int) -> None:
        self.data, self.max_pixels, shape = data, max_pixels, dicom_shape(data)
        self.count = shape[0] if len(shape) == 4 or (len(shape) == 3 and shape[-1] != 3) else 1

    def encode(self, frame: int) -> bytes:
        return _npy(decode_dicom(self.data, 1, self.max_pixels, frame))


class _Pages:
    """Pages of a TIFF, but for smaller copies of others and masks of them."""

    def __init__(self, place: str | bytes, max_pixels: int) -> None:
        self.place, self.max_pixels = place, max_pixels
        with open_tiff(place) as tiff:
            series = tiff.series[:1] if tiff.series[0].kind in _SLIDES else tiff.series
            pages = {page.index for each in series for page in each.levels[0].pages if page is not None}
            frames = [page.index for page in tiff.pages if not int(page.keyframe.subfiletype) & _NOT_FRAMES]
        self.pages = [index for index in frames if index in pages] or [0]
        self.count = len(self.pages)

    def encode(self, frame: int) -> bytes:
        page = TiffWindows(self.place, 0, self.max_pixels, self.pages[frame])
        return page.encode(Window(0, 0, *page.size))


class _Stack:
    """Frames that follow a single page, as ImageJ writes large stacks."""

    def __init__(self, place: str | bytes, max_pixels: int) -> None:
        self.place, self.max_pixels = place, max_pixels
        with open_tiff(place) as tiff:
            series, page = tiff.series[0], tiff.series[0].keyframe
            self.shape, self.kind = page.shape, np.dtype(page.dtype).newbyteorder(tiff.byteorder)
            self.photometric, self.start = page.photometric, int(series.dataoffset)
            self.count = int(series.size) // int(page.size)
        self.file = PlacedBytes(place)

    def encode(self, frame: int) -> bytes:
        channels = self.shape[-1] if len(self.shape) == 3 else 1
        check_array(self.shape, self.kind, channels, self.max_pixels)
        size = math.prod(self.shape)
        bytes_each = size * self.kind.itemsize
        values = np.frombuffer(self.file.read(self.start + frame * bytes_each, bytes_each), self.kind)
        options = {"planarconfig": "contig"} if len(self.shape) == 3 else {}
        values = values.reshape(self.shape).astype(self.kind.newbyteorder("="))
        return tiff_of(values, photometric=self.photometric, metadata=None, software=False, **options)


class _Pictures:
    """Frames of a photograph; the picture stays open, because a frame is often drawn over the ones before it."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        self.data, self.max_pixels = data, max_pixels
        self._picture: Image.Image | None = None
        self._lock = threading.Lock()
        with open_by_pillow(data, max_pixels) as picture:
            self.count = int(getattr(picture, "n_frames", 1))
        if self.count > 1 and is_deep(data):
            raise Refused("frames of more than 8 bits, of which only the first could be read: save them one by one")
        self._orientation = orientation_of(data)

    def encode(self, frame: int) -> bytes:
        with self._lock:
            picture = self._picture
            if picture is None or picture.tell() > frame:
                picture = open_by_pillow(self.data, self.max_pixels)
            self._picture = None  # not that of a frame which failed
            picture.seek(frame)
            pixels = np.array(picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB"))
            self._picture = picture
        return photograph_file(pixels, self._orientation)
