"""Arrays as images: `.npy`, TIFF, DICOM and NIfTI of any channels and types."""

import numpy as np

from maetool.reading import npy_header, read_npy

from .dicom import decode_dicom, dicom_shape, is_dicom
from .image_size import Refused, check_array
from .nifti import decode_nifti, is_nifti, nifti_shape
from .tiff import MAGIC as _TIFF
from .tiff import decode_tiff, tiff_shape

_NPY = b"\x93NUMPY"
_JPEG = b"\xff\xd8"


def is_array(data: bytes) -> bool:
    """Return whether the bytes `data` are of a format for arrays, which may hold any channels and types."""
    if data.startswith(_JPEG):  # most are
        return False
    return data.startswith((_NPY, *_TIFF)) or is_dicom(data) or is_nifti(data)


def array_shape(data: bytes) -> tuple[int, ...]:
    """Return the shape of the array in `data`, the bytes of a file, from its header.

    Raises:
        Exception: whatever a damaged file makes the readers raise.
    """
    if data.startswith(_NPY):
        return npy_header(data)[0]
    if is_dicom(data):
        return dicom_shape(data)
    return nifti_shape(data) if is_nifti(data) else tiff_shape(data)


def decode_array(data: bytes, in_chans: int, photo: bool, max_pixels: int, gaps: bool = False) -> np.ndarray | None:
    """Return the array in the bytes of a file as (C, H, W), uint8 or float32; the last axis wins as channels.

    Args:
        data: the content of a file.
        in_chans: C; one of 3 takes an array of one channel three times, as it takes grey photographs.
        photo: return None for a TIFF that is an 8-bit photograph.
        max_pixels: see `image_size.check_array`.
        gaps: let NaN stand where there is no data: infinity becomes NaN, too, and what a TIFF says of it.

    Raises:
        Refused: damaged, too large, of other channels, or without `gaps` with NaN or infinity.
    """
    if data.startswith(_NPY):
        array: np.ndarray | None = _decode_npy(data, in_chans, max_pixels)
    elif is_dicom(data):
        array = decode_dicom(data, in_chans, max_pixels)
    elif is_nifti(data):
        array = decode_nifti(data, in_chans, max_pixels)
    else:
        array = decode_tiff(data, in_chans, photo, max_pixels, gaps)
    return None if array is None else to_chw(array, in_chans, gaps)


def _decode_npy(data: bytes, in_chans: int, max_pixels: int) -> np.ndarray:
    try:
        shape, dtype, *_ = npy_header(data)
        check_array(shape, dtype, in_chans, max_pixels)
        return read_npy(data)
    except ValueError as error:
        raise Refused(f".npy file: {error}") from error


def to_chw(array: np.ndarray, in_chans: int, gaps: bool = False) -> np.ndarray:
    """Return `array` as (C, H, W), uint8 or float32; the last axis wins where first and last could be C.

    Args:
        array: (H, W), (C, H, W) or (H, W, C).
        in_chans: C.
        gaps: NaN and infinity are pixels without data.

    Raises:
        Refused: other channels, no numbers, or without `gaps` NaN or infinity.
    """
    array = _channels_first(array, in_chans)
    if array.size == 0 or array.dtype.kind not in "buif":
        raise Refused(f"an array of shape {array.shape} and type {array.dtype}, which is no image")
    if array.dtype == np.uint8:
        return array if array.flags.writeable else array.copy()
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    finite = np.isfinite(array)
    if finite.all():
        return array
    if not gaps:
        raise Refused("it holds NaN, infinity or values beyond float32: set dataset.nodata='auto' if they mark gaps")
    return np.where(finite, array, np.float32(np.nan))


def _channels_first(array: np.ndarray, in_chans: int) -> np.ndarray:
    if array.ndim == 2 and in_chans in (1, 3):  # grey, as of a photograph
        return np.repeat(array[None], in_chans, axis=0)
    if array.ndim == 3 and array.shape[-1] == in_chans:
        return array.transpose(2, 0, 1)
    if array.ndim == 3 and array.shape[0] == in_chans:
        return array
    raise Refused(f"an array of shape {array.shape}, but {in_chans} channels were expected")
