"""Photographs of more than 8 bits a channel: PNG, PNM and JPEG 2000. Their stored values are kept."""

import re

import cv2
import numpy as np

from .image_size import MAX_PIXELS, Refused, check_array, photo_size
from .png import SIGNATURE, without_remarks

_JPEG = b"\xff\xd8"
_CODESTREAM, _JP2 = b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "  # ITU-T T.800, annexes A and I
_PNM, _PFM = (b"P5", b"P6", b"P2", b"P3"), (b"Pf", b"PF")
# Kind, width, height and largest value, between which there may be comments.
_GAP = rb"(?:\s|#[^\n]*\n)+"
_PNM_HEAD = re.compile(rb"P[2356]" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})\s")

# OpenCV divides by a scale other than 1.
_PFM_HEAD = re.compile(rb"P[fF]\s+(\d{1,9})\s+(\d{1,9})\s+-?1(?:\.0*)?\s")
_FLAGS = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR_RGB}


def bits_of(data: bytes) -> int:
    """Return the bits of a channel in `data`, a photograph, by its header: 32 for floating point, 8 where unknown."""
    if data.startswith(_JPEG):  # most are
        return 8
    if data.startswith(SIGNATURE):
        return data[24] if len(data) > 24 else 8
    if data.startswith(_PNM):
        head = _PNM_HEAD.match(data, 0, 2**12)
        return int(head[3]).bit_length() if head else 8
    if data.startswith(_PFM):
        return 32
    if data.startswith((_JP2, _CODESTREAM)):
        depth = data.find(_CODESTREAM) + 42  # Ssiz of the first component; its highest bit is the sign
        return 1 + (data[depth] & 127) if 42 <= depth < len(data) else 8
    return 8


def is_deep(data: bytes) -> bool:
    """Return whether the photograph `data` has more than 8 bits a channel, which become float32."""
    return bits_of(data) > 8


def decode_deep(data: bytes, in_chans: int, max_pixels: int = MAX_PIXELS, eight_bit: bool = False) -> np.ndarray:
    """Return a photograph of more than 8 bits as float32 (C, H, W) of the stored values; alpha is dropped.

    With `eight_bit` it is uint8, the upper eight of 16 bits.

    Grey ones become three equal channels, and one channel of colours is their luma, as with 8 bits. OpenCV decodes
    them, whatever the backend, because Pillow makes 8 bits of colours and scales some grey ones.

    Args:
        data: content of the file.
        in_chans: C, 1 or 3.
        max_pixels: height * width at most.
        eight_bit: return the upper eight of 16 bits.

    Raises:
        Refused: damaged, too large, or `in_chans` other than 1 and 3.
    """
    if in_chans not in _FLAGS:
        raise Refused(f"a photograph, but {in_chans} channels were expected: save it as .npy or .tiff")
    if data.startswith((b"P2", b"P3")):
        raise Refused("a PNM of more than 8 bits written as text: save it as PNG, TIFF or .npy")
    check_array((in_chans, *_size_of(data, max_pixels)), np.dtype(np.float32), in_chans, max_pixels)
    flags = _FLAGS[in_chans] | (0 if eight_bit else cv2.IMREAD_ANYDEPTH) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(without_remarks(data), np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise Refused("damaged or cut off")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], in_chans, axis=-1)
    if pixels.shape[-1] != in_chans:  # of PFM
        raise Refused(f"it has {pixels.shape[-1]} channels, but {in_chans} were expected")
    pixels = pixels.transpose(2, 0, 1)
    if pixels.dtype == np.uint8:
        return pixels
    pixels = pixels.astype(np.float32)
    if not np.isfinite(pixels).all():
        raise Refused("it holds NaN or infinity")
    return pixels


def _size_of(data: bytes, max_pixels: int) -> tuple[int, int]:
    if not data.startswith(_PFM):
        return photo_size(data, max_pixels)
    head = _PFM_HEAD.match(data, 0, 2**12)
    if head is None:
        raise Refused("a PFM with a damaged header, or with a scale other than 1 and -1: save it as TIFF or .npy")
    return int(head[2]), int(head[1])
