"""NIfTI as arrays, by nibabel: volumes of scans, of which each slice is an image."""

import gzip
import io
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from maetool.compat import is_installed

from .image_size import DECODED_BYTES, RAISE_LIMIT, Refused, check_array

NEEDS = "NIfTI needs nibabel, which is not installed: pip install nibabel, or save the slices as .npy or TIFF"
_GZIP = b"\x1f\x8b"


def is_nifti(data: bytes) -> bool:
    """Return whether the bytes `data` are a NIfTI file of one part, version 1 or 2, perhaps compressed by gzip."""
    if data.startswith(_GZIP):
        try:
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(352)
        except (OSError, EOFError, zlib.error):
            return False
    return data[344:348] == b"n+1\0" or data[4:8] == b"n+2\0"


def nifti_shape(data: bytes) -> tuple[int, ...]:
    """Return the shape of the volume `data` by its header.

    Raises:
        Exception: whatever a damaged file makes nibabel raise.
    """
    return tuple(int(side) for side in _opened(data, None).shape)


def decode_nifti(data: bytes, in_chans: int, max_pixels: int) -> np.ndarray:
    """Return a NIfTI file of one slice as float32 (H, W), turned as `Volume.slice` says.

    Args:
        data: content of the file.
            in_chans: C, for the limit of the size.
        max_pixels: height * width at most.

    Raises:
        Refused: damaged, too large, of several slices, or nibabel is missing.
    """
    volume = Volume(data, max_pixels)
    flat = [axis for axis in range(3) if volume.sides[axis] == 1]
    if not flat or volume.times > 1:
        raise Refused(
            f"a volume of shape {volume.shape}: wrap the source, source=dict(type='FrameSource', source=...), which "
            "takes its slices"
        )
    check_array(volume.shape, np.dtype(np.float32), in_chans, max_pixels)
    return volume.slice(flat[-1], 0)


class Volume:
    """The volume of a NIfTI file. Axes are the patient's: from left to right, from back to front, from foot to head.

    Args:
        data: the content of a file.
        max_pixels: limit of what gzip may unpack, `DECODED_BYTES` for each.

    Attributes:
        shape: as stored.
        sides: number of slices along each of the three axes.
        times: how many volumes there are, of further axes.

    Raises:
        Refused: damaged, too large, or nibabel is missing.
    """

    def __init__(self, data: bytes, max_pixels: int) -> None:
        try:
            image = _opened(data, max_pixels)
            from nibabel.orientations import io_orientation

            turns = np.nan_to_num(io_orientation(image.affine), nan=-1)
            self.shape = tuple(int(side) for side in image.shape)
            self._values = image.dataobj
            order = turns[:, 0].astype(int).tolist()
            order = order if sorted(order) == [0, 1, 2] else [0, 1, 2]  # it says nothing of an axis
            self._stored = [order.index(axis) for axis in range(3)]
            self._turned = [turns[axis, 1] < 0 for axis in self._stored]
            full = (*self.shape, 1, 1, 1)[: max(3, len(self.shape))]
            self.sides = [full[axis] for axis in self._stored]
            self.times = int(np.prod(full[3:], dtype=np.int64))
        except Refused:
            raise
        except Exception as error:  # whatever a damaged file makes nibabel raise
            raise Refused(f"cannot read this NIfTI ({error})") from error

    def slice(self, axis: int, index: int, time: int = 0) -> np.ndarray:
        """Return a slice, float32 (H, W), with the header's scaling: front or head on top, the patient's left at left.

        Args:
            axis: across which the slice lies, 0 to 2, see `sides`.
            index: of the slice, counted from 0.
            time: of a series, counted from 0.

        Raises:
            Refused: damaged.
        """
        place: list[Any] = [slice(None)] * 3
        place[self._stored[axis]] = self.sides[axis] - 1 - index if self._turned[axis] else index
        try:
            rest = np.unravel_index(time, self.shape[3:]) if len(self.shape) > 3 else ()
            values = self._values
            if len(self.shape) < 3:  # a slice or a line, whose further axes have one place
                values = np.asarray(values).reshape((*self.shape, 1, 1)[:3])
            pixels = np.asarray(values[(*place, *map(int, rest))], np.float32)
        except Exception as error:  # values that are cut off
            raise Refused(f"cannot read this NIfTI ({error})") from error
        across, up = (other for other in range(3) if other != axis)
        for other in (across, up):
            if self._turned[other]:
                pixels = np.flip(pixels, axis=int(self._stored[other] > self._stored[across + up - other]))
        rows = pixels.T if self._stored[across] < self._stored[up] else pixels
        return np.ascontiguousarray(np.flipud(rows))


def _opened(data: bytes, max_pixels: int | None) -> Any:
    """Return nibabel's image, whose values are read when they are asked for; without a limit from the header alone."""
    if not is_installed("nibabel"):
        raise Refused(NEEDS)
    import nibabel

    if data.startswith(_GZIP):
        most = 2**16 if max_pixels is None else DECODED_BYTES * max_pixels + 2**16
        data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(most + 1)
        if max_pixels is not None and len(data) > most:
            raise Refused(f"it unpacks to more than {most:,} bytes: {RAISE_LIMIT}")
    kind = nibabel.Nifti2Image if data[4:8] == b"n+2\0" else nibabel.Nifti1Image
    with _quiet(nibabel.imageglobals.logger):
        return kind.from_bytes(data)


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep nibabel's remarks on odd headers from the terminal: where one matters, the error says it."""
    logger.addFilter(_passes_nothing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeFilter(_passes_nothing)


def _passes_nothing(record: logging.LogRecord) -> bool:
    return False
