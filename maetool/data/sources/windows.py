"""Windows of large pictures, each an image: scenes of satellites, slides of pathology, maps."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maetool.annotations import Size
from maetool.data.codecs.image_size import MAX_PIXELS
from maetool.data.codecs.images import UnreadableImage
from maetool.data.codecs.tiff_windows import Window
from maetool.data.codecs.windows import Windows, open_windows
from maetool.errors import UsageError
from maetool.reading import MOST_BYTES
from maetool.registry import SOURCES

from .base import Source
from .file_index import FileIndex
from .made import checked
from .parts_of_files import PartsOfFiles

_OPEN_AT_ONCE = 16  # files of a process
EDGES = ("shift", "drop")


@SOURCES.register_module()
class WindowSource(PartsOfFiles):
    """Windows of the pictures of a source, on a grid, row by row.

    Of a TIFF and of a `.npy` file only what a window touches is read, so a scene may be of any size; other pictures are
    decoded as a whole, a JPEG file reduced by `level`, and stay in memory while their windows are read. Values stay as
    stored; a window of a GeoTIFF says of missing data and of its place on the earth what the whole says. A window is
    named `FILE#yTOPxLEFT`, in pixels of the level. Each file is opened once at the start, to see its size; one that
    cannot be read counts as one broken image.

    Args:
        source: config of the source of files.
        size: height and width of a window in pixels, or one number for both; smaller pictures are one window.
        stride: from window to window, down and across; None, `size`, so that windows do not overlap.
        level: which level of a pyramid, as of whole slides and of cloud-optimised GeoTIFF, 0 is the full size; a JPEG
            file is decoded at 1/2, 1/4 or 1/8 at the levels 1 to 3.
        edges: "shift" moves the last windows of a row or column back so that they end with the picture; "drop" leaves
            out what does not fill a window.
        max_pixels: most pixels of what is decoded at once, and 4 bytes for each of so many.

    Raises:
        UsageError: sizes below 1, a negative level, or no such `edges`.
    """

    def __init__(
        self,
        source: Mapping[str, Any] | Source,
        size: Size,
        stride: Size | None = None,
        level: int = 0,
        edges: str = "shift",
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.size, self.stride = _pair(size, "size"), _pair(size if stride is None else stride, "stride")
        if edges not in EDGES or type(level) is not int or level < 0:
            raise UsageError(f"WindowSource got {edges=}, {level=}: give one of {', '.join(EDGES)}, and 0 or more.")
        super().__init__(source)
        self.level, self.edges, self.max_pixels = level, edges, max_pixels
        self._forget()
        self._sizes = np.array([self._size_of(file) for file in range(len(self.source))], np.int64).reshape(-1, 2)
        across = [_number(self._sizes[:, i], self.size[i], self.stride[i], edges == "shift") for i in (0, 1)]
        self._columns = np.maximum(across[1], 1)
        self._ends = np.cumsum(np.where(self._sizes[:, 0] == 0, 1, across[0] * across[1]))

    def _forget(self) -> None:
        self._open: OrderedDict[int, Windows] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_open", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def files_of(self, indices: np.ndarray) -> np.ndarray:
        """Return the numbers of the files of images, int64 (N,)."""
        return np.searchsorted(self._ends, indices, side="right")

    def part_of(self, index: int) -> str:
        """Return `yTOPxLEFT` of image `index`."""
        return _name_of(self.window_of(index))

    def window_of(self, index: int) -> Window:
        """Return the part of its file that image `index` is."""
        file = self.file_of(index)
        place = index - (int(self._ends[file - 1]) if file else 0)
        corner = divmod(place, int(self._columns[file]))
        whole = self._sizes[file].tolist()
        height, width = (min(side, all_of_it) for side, all_of_it in zip(self.size, whole, strict=True))
        top, left = (
            min(number * step, all_of_it - side)
            for number, step, all_of_it, side in zip(corner, self.stride, whole, (height, width), strict=True)
        )
        return Window(top, left, height, width)

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return the name of image `index`, and a TIFF or `.npy` file of its window.

        Raises:
            UnreadableImage: the file cannot be read, or the window has more than `most` bytes.
        """
        return self.path(index), self.read_window(self.file_of(index), self.window_of(index), most)

    def read_window(self, file: int, window: Window, most: int = MOST_BYTES) -> bytes:
        """Return a TIFF or `.npy` file of any window of the file numbered `file`, of at most `most` bytes.

        Raises:
            UnreadableImage: see `read`.
        """
        path = f"{self.source.path(file)}#{_name_of(window)}"
        try:
            return checked(self._windows(file).encode(window), path, most)
        except UnreadableImage as error:
            raise UnreadableImage(path, error.reason) from error
        except Exception as error:  # whatever a damaged file makes the readers raise
            raise UnreadableImage(path, error or type(error).__name__) from error

    def size_of(self, file: int) -> tuple[int, int]:
        """Return height and width of the file numbered `file`, at the level; zeros where it cannot be read."""
        height, width = self._sizes[file].tolist()
        return height, width

    def _size_of(self, file: int) -> tuple[int, int]:
        try:
            return self._opened(file).size
        except Exception:  # told of where it is read
            return 0, 0

    def _opened(self, file: int) -> Windows:
        on_disk = isinstance(self.source, FileIndex)
        place = self.source.path(file) if on_disk else self.source.read(file)[1]
        return open_windows(place, self.level, self.max_pixels)

    def _windows(self, file: int) -> Windows:
        with self._lock:
            windows = self._open.pop(file, None) or self._opened(file)
            if windows.holds_pixels:  # one such picture at a time
                for other in [number for number, each in self._open.items() if each.holds_pixels]:
                    del self._open[other]
            self._open[file] = windows
            if len(self._open) > _OPEN_AT_ONCE:
                self._open.popitem(last=False)
            return windows


def _name_of(window: Window) -> str:
    return f"y{window.top}x{window.left}"


def _pair(size: Any, name: str) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else ()
    if len(pair) != 2 or not all(type(side) is int and side > 0 for side in pair):
        raise UsageError(f"WindowSource got {name}={size!r}: give a number of pixels, or height and width.")
    return pair[0], pair[1]


def _number(sides: np.ndarray, window: int, stride: int, with_rest: bool) -> np.ndarray:
    """Return how many windows lie along sides of pictures, int64 (F,)."""
    room = sides - window
    steps = -(-room // stride) if with_rest else room // stride
    return np.where(room <= 0, 1, steps + 1)
