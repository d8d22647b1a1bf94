"""Reads masks, whose values are the classes of the pixels: PNG, and TIFF also by windows."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maetool.data.codecs.image_size import MAX_PIXELS, Refused, most_bytes, open_by_pillow, photo_size
from maetool.data.codecs.images import UnreadableImage, read_bytes
from maetool.data.codecs.orientation import orientation_of, stored_pixels, turned
from maetool.data.sources.file_index import FileIndex
from maetool.data.sources.windows import WindowSource
from maetool.errors import UsageError
from maetool.ops.geometry import format_size
from maetool.reading import read_head


class MaskFiles:
    """The masks of the samples of a dataset, complete ones or windows.

    Args:
        files: a mask for each image.
        chosen: which of them, or of the windows, the samples are of, int64 (N,).
        max_pixels: most pixels of a mask, or of what is decoded of it at once.
        exif: turn masks as they say themselves.
        windows: the windows of the images; None for complete images.
    """

    def __init__(
        self, files: FileIndex, chosen: Tensor, max_pixels: int, exif: bool, windows: WindowSource | None = None
    ) -> None:
        self.files, self.chosen, self.max_pixels, self.exif = files, chosen, max_pixels, exif
        self.images = windows
        if windows is not None:
            self.masks = WindowSource(files, windows.size, windows.stride, max_pixels=max_pixels)

    def path(self, index: int) -> str:
        """Return the path of the mask of sample `index`."""
        place = int(self.chosen[index])
        return self.files.path(place if self.images is None else self.images.file_of(place))

    def read(self, index: int) -> np.ndarray:
        """Return the values of the mask of sample `index`, int64 (H, W).

        Raises:
            UnreadableImage: it cannot be read, or has windows and another size than its image.
            UsageError: see `read_index_png`.
        """
        place = int(self.chosen[index])
        if self.images is None:
            return read_index_png(self.files.path(place), self.max_pixels, self.exif)
        file, path = self.images.file_of(place), self.path(index)
        _refuse_lossy(path, read_head(path, 16))
        sizes = [source.size_of(file) for source in (self.images, self.masks)]
        if (0, 0) not in sizes and sizes[0] != sizes[1]:
            image = self.images.source.path(file)
            raise UnreadableImage(
                path, f"it has {format_size(sizes[1])} pixels, but its image {image} has {format_size(sizes[0])}"
            )
        data = self.masks.read_window(file, self.images.window_of(place), most_bytes(self.max_pixels))
        return index_values(data, path, self.max_pixels, self.exif)


def read_index_png(path: str | Path, max_pixels: int = MAX_PIXELS, exif: bool = False) -> np.ndarray:
    """Return the values of the PNG `path` of one channel, grey or with a palette, int64 (H, W); `exif` turns it.

    Raises:
        UnreadableImage: it cannot be read, is larger than `max_pixels`, or is a picture in colours.
        UsageError: it is compressed with loss, or has values that are no whole numbers from 0.
    """
    return index_values(read_bytes(str(path), most_bytes(max_pixels)), path, max_pixels, exif)


def index_values(data: bytes, path: str | Path, max_pixels: int, exif: bool) -> np.ndarray:
    """Return the values of a mask, see `read_index_png`.

    Args:
        data: content of the file.
        path: what to call it.
        max_pixels: most pixels.
        exif: turn it as it says.

    Raises:
        UnreadableImage, UsageError: see `read_index_png`.
    """
    try:
        _refuse_lossy(path, data)
        photo_size(data, max_pixels)
        with open_by_pillow(data, max_pixels) as picture:
            mode, values = picture.mode, stored_pixels(picture)
    except (UnreadableImage, UsageError):
        raise
    except Refused as error:
        raise UnreadableImage(path, error) from error
    except Exception as error:  # whatever a damaged file makes Pillow raise
        raise UnreadableImage(path, f"it is no PNG of classes ({error or type(error).__name__})") from error
    if values.ndim != 2:
        reason = (
            f"it is a picture of mode {mode}, but must have one channel, grey or a palette, of classes: write the "
            "number of each pixel's class in place of its colour"
        )
        raise UnreadableImage(path, reason)
    values = turned(torch.from_numpy(values), orientation_of(data)).numpy() if exif else values
    return _whole(path, values)


def _whole(path: str | Path, values: np.ndarray) -> np.ndarray:
    """Return values as int64; refuse those that are no numbers of classes."""
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64)
    wrong = (whole < 0) | (whole != values)
    if wrong.any():
        raise UsageError(
            f"{path} has the value {values[wrong][0]:g}, but the pixels of masks are numbers of classes, whole and "
            "from 0: write 255 where nothing counts."
        )
    return whole


def _refuse_lossy(path: str | Path, data: bytes) -> None:
    if data.startswith(b"\xff\xd8") or (data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8 "):
        raise UsageError(
            f"{path} is a JPEG or lossy WebP, whose compression changes the values of pixels and so their classes: "
            "save the masks as PNG from their source."
        )
