"""Each frame of a file as an image: slices of scans, pages, frames of animations."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from maetool.data.codecs.frames import Frames, open_frames
from maetool.data.codecs.image_size import MAX_PIXELS
from maetool.data.codecs.images import UnreadableImage
from maetool.data.codecs.tiff import MAGIC as TIFF
from maetool.errors import UsageError
from maetool.reading import MOST_BYTES, read_head
from maetool.registry import SOURCES

from .base import Source
from .file_index import FileIndex
from .made import checked
from .parts_of_files import PartsOfFiles

AXES = ("left-right", "back-front", "foot-head")


@SOURCES.register_module()
class FrameSource(PartsOfFiles):
    """Each frame of the files of a source as an image: slices of NIfTI, pages of TIFF, frames of DICOM, GIF, PNG, WebP.

    A frame has the colours, values and orientation of its file; a file of one frame is read as it is. Smaller copies
    and masks among the pages of a TIFF are no frames. The files are opened once at the start to count their frames; one
    that cannot be read counts as one broken image.
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
        self._last: tuple[int, int, Frames] | None = None

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
        """Return the path of image `index`, and the content of an image file of its frame.

        Raises:
            UnreadableImage: the file cannot be read, or the frame has more than `most` bytes.
        """
        file, frame = self._places[index].tolist()
        path = self.path(index)
        try:
            return path, checked(self._frames(file).encode(frame), path, most)
        except UnreadableImage as error:
            raise UnreadableImage(path, error.reason) from error
        except Exception as error:  # whatever a damaged file makes the readers raise
            raise UnreadableImage(path, error or type(error).__name__) from error

    def _count(self, file: int) -> int:
        try:
            return open_frames(self._place(file), self.axis, self.max_pixels).count
        except Exception:  # told of where it is read
            return 1

    def _place(self, file: int) -> str | bytes:
        path = self.source.path(file) if isinstance(self.source, FileIndex) else ""
        is_tiff = read_head(path, len(TIFF[0])).startswith(TIFF) if path else False
        return path if is_tiff else self.source.read(file)[1]

    def _frames(self, file: int) -> Frames:
        # Neighbours come from one file: it stays open in a process, unless that was forked since.
        last = self._last
        if last is None or last[:2] != (os.getpid(), file):
            last = (os.getpid(), file, open_frames(self._place(file), self.axis, self.max_pixels))
            self._last = last
        return last[2]
