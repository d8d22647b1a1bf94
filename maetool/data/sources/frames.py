"""Each frame of a file as an image: slices of scans, pages, frames of animations."""

import io
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tifffile

from maetool.data.codecs.dicom import decode_dicom, dicom_shape, is_dicom
from maetool.data.codecs.image_size import MAX_PIXELS, check_array, open_by_pillow
from maetool.data.codecs.images import UnreadableImage
from maetool.data.codecs.nifti import Volume, is_nifti
from maetool.data.codecs.orientation import stored_pixels
from maetool.data.codecs.tiff import MAGIC as TIFF
from maetool.errors import UsageError
from maetool.reading import MOST_BYTES
from maetool.registry import SOURCES

from .base import Source
from .made import npy_bytes
from .parts_of_files import PartsOfFiles

AXES = ("left-right", "back-front", "foot-head")
_MOST_FRAMES = 100_000


@SOURCES.register_module()
class FrameSource(PartsOfFiles):
    """Each frame of the files of a source as an image: slices of NIfTI, pages of TIFF, frames of DICOM, GIF, PNG, WebP.

    The files are opened once at the start to count their frames; one that cannot be read counts as one broken image.
    An image is named `FILE#FRAME`, from 0. Labels are those of the files; the frames of a file are one group, so that
    they are never in two parts.

    Args:
        source: config of the source of files.
        axis: across which axis of the patient a NIfTI is cut: "foot-head" gives axial slices, "back-front" coronal
            ones, "left-right" sagittal ones.
        every: take every so-manieth frame, because neighbours are alike.
        max_pixels: most pixels of a frame, and 4 bytes for each of so many.

    Raises:
        UsageError: no such axis, or `every` below 1.
    """

    def __init__(
        self,
        source: Mapping[str, Any] | Source,
        axis: str = "foot-head",
        every: int = 1,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if axis not in AXES or every < 1:
            raise UsageError(
                f"FrameSource got axis={axis!r}, every={every}: give one of {', '.join(AXES)}, and 1 or more."
            )
        super().__init__(source)
        self.axis, self.max_pixels = AXES.index(axis), max_pixels
        counts = [self._count(index) for index in range(len(self.source))]
        self._places = np.array([(f, i) for f, n in enumerate(counts) for i in range(0, n, every)], np.int64)
        self._last: tuple[int, int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def __len__(self) -> int:
        return len(self._places)

    def files_of(self, indices: np.ndarray) -> np.ndarray:
        """Return the numbers of the files of images, int64 (N,)."""
        return self._places[indices, 0]

    def part_of(self, index: int) -> str:
        """Return the number of the frame of image `index`."""
        return str(self._places[index, 1])

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return the path of image `index`, and a `.npy` file of its frame, (H, W) or (H, W, C).

        Raises:
            UnreadableImage: the file cannot be read, or the frame has more than `most` bytes.
        """
        file, frame = self._places[index].tolist()
        path = self.path(index)
        try:
            return path, npy_bytes(self._frame(file, frame), path, most)
        except UnreadableImage:
            raise
        except Exception as error:  # whatever a damaged file makes the readers raise
            raise UnreadableImage(path, error or type(error).__name__) from error

    def _count(self, file: int) -> int:
        try:
            frames = _Frames(self.source.read(file)[1], self.axis, self.max_pixels).count
        except Exception:  # told of where it is read
            return 1
        return min(frames, _MOST_FRAMES)

    def _frame(self, file: int, frame: int) -> np.ndarray:
        # Neighbours come from one file: it stays open in a process, unless that was forked since.
        if self._last is None or self._last[:2] != (os.getpid(), file):
            self._last = (os.getpid(), file, _Frames(self.source.read(file)[1], self.axis, self.max_pixels))
        return self._last[2].read(frame)


class _Frames:
    """The frames of one file."""

    def __init__(self, data: bytes, axis: int, max_pixels: int) -> None:
        self.data, self.axis, self.max_pixels = data, axis, max_pixels
        if is_nifti(data):
            self.volume = Volume(data, max_pixels)
            self.count, self.read = self.volume.sides[axis] * self.volume.times, self._slice
        elif is_dicom(data):
            shape = dicom_shape(data)
            self.count, self.read = (shape[0] if len(shape) > 2 and shape[-1] != 3 else 1), self._of_dicom
            self.count = shape[0] if len(shape) == 4 else self.count
        elif data.startswith(TIFF):
            with tifffile.TiffFile(io.BytesIO(data)) as tiff:
                self.count, self.read = len(tiff.pages), self._page
        else:
            with open_by_pillow(data, max_pixels) as image:
                self.count, self.read = getattr(image, "n_frames", 1), self._picture

    def _slice(self, frame: int) -> np.ndarray:
        time, index = divmod(frame, self.volume.sides[self.axis])
        sides = [side for axis, side in enumerate(self.volume.sides) if axis != self.axis]
        check_array(sides, np.dtype(np.float32), 1, self.max_pixels)
        return self.volume.slice(self.axis, index, time)

    def _of_dicom(self, frame: int) -> np.ndarray:
        return decode_dicom(self.data, 1, self.max_pixels, frame)

    def _page(self, frame: int) -> np.ndarray:
        from maetool.data.codecs.tiff import decode_page

        return decode_page(self.data, frame, self.max_pixels)

    def _picture(self, frame: int) -> np.ndarray:
        with open_by_pillow(self.data, self.max_pixels) as image:
            image.seek(frame)
            return stored_pixels(image, "L" if image.mode in ("1", "L", "LA") else "RGB")
