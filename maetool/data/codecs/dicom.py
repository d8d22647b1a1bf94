"""DICOM as arrays, by pydicom: stored values to values of the modality, brighter where more is meant."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from maetool.compat import is_installed

from .image_size import Refused, check_array

NEEDS = "DICOM needs pydicom, which is not installed: pip install pydicom, or save the pictures as .npy or TIFF"
_MAGIC = b"DICM"  # after a preamble of 128 bytes (PS3.10, 7.1)


def is_dicom(data: bytes) -> bool:
    """Return whether the bytes `data` are a DICOM file."""
    return data[128:132] == _MAGIC


def dicom_shape(data: bytes) -> tuple[int, ...]:
    """Return the shape of the DICOM file `data`: (H, W), with several frames before and several colours behind.

    Raises:
        Exception: whatever a damaged file makes pydicom raise.
    """
    with _quiet():
        head = _opened(data, True)
        shape = (int(head.Rows), int(head.Columns))
        frames, colours = frames_of(head), int(head.get("SamplesPerPixel", 1))
    return ((frames,) if frames > 1 else ()) + shape + ((colours,) if colours > 1 else ())


def frames_of(head: Any) -> int:
    """Return the number of frames by the head of a DICOM file."""
    return int(head.get("NumberOfFrames", 1) or 1)


def decode_dicom(data: bytes, in_chans: int, max_pixels: int, frame: int | None = None) -> np.ndarray:
    """Return a frame of a DICOM file, (H, W) or (H, W, 3), uint8 or float32.

    Rescale slope and intercept, or the table in their place, are applied (PS3.3, C.11.1), so that a CT has Hounsfield
    units, and MONOCHROME1, where low means bright, is turned over (C.7.6.3.1.2). YBR colours become RGB.

    Args:
        data: the content of a file.
        in_chans: expected channels, for the limit.
        max_pixels: see `image_size.check_array`.
        frame: which one; None, the only one.

    Raises:
        Refused: damaged, too large, without pixels, of several frames where none is chosen, or pydicom is missing.
    """
    try:
        shape = dicom_shape(data)
        with _quiet():
            head = _opened(data, False)
            frames = frames_of(head)
            if frame is None and frames > 1:
                raise Refused(f"DICOM of {frames} frames: wrap the source, source=dict(type='FrameSource', source=...)")
            check_array(shape[1:] if frames > 1 else shape, np.dtype(np.float32), in_chans, max_pixels)
            return _values(head, frame or 0)
    except Refused:
        raise
    except Exception as error:  # whatever a damaged file, or one of a codec that is not installed, makes pydicom raise
        raise Refused(f"cannot read this DICOM ({error})") from error


def _opened(data: bytes, head_alone: bool) -> Any:
    if not is_installed("pydicom"):
        raise Refused(NEEDS)
    import pydicom

    return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=head_alone)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let pydicom's warnings pass unseen, of odd elements and lengths, which files that are whole have too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _values(head: Any, frame: int) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut, pixel_array

    pixels = pixel_array(head, index=frame, raw=False)  # YBR becomes RGB
    if pixels.ndim == 3:
        return pixels
    values = apply_modality_lut(pixels, head)
    if head.get("PhotometricInterpretation") == "MONOCHROME1":
        # The largest that the file can hold becomes the smallest, the same for each file of a set.
        ends = apply_modality_lut(np.array(_range_of(head), pixels.dtype), head)
        values = ends.sum() - values
    return values if values.dtype == np.uint8 else values.astype(np.float32)


def _range_of(head: Any) -> tuple[int, int]:
    bits, signed = int(head.BitsStored), bool(head.get("PixelRepresentation", 0))
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
