"""What sources share whose images are arrays or objects in memory: they become the bytes of a `.npy` file."""

import io
from typing import Any

import numpy as np

from maetool.data.codecs.image_size import RAISE_LIMIT
from maetool.data.codecs.images import UnreadableImage


def npy_bytes(array: np.ndarray, path: str, most: int) -> bytes:
    """Return the `.npy` file of an array (H, W) or (H, W, C).

    Args:
        array: numbers.
        path: what to call it.
        most: bytes that the file may have.

    Raises:
        UnreadableImage: it has more.
    """
    if array.nbytes + 128 > most:
        raise UnreadableImage(path, f"its array has {array.nbytes:,} bytes, more than the {most:,} that are read")
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return checked(file.getvalue(), path, most)


def checked(data: bytes, path: str, most: int) -> bytes:
    """Return the content of an image.

    Args:
        data: the content.
        path: what errors call it.
        most: bytes at most.

    Raises:
        UnreadableImage: it is empty, or has more than `most` bytes.
    """
    if not data:
        raise UnreadableImage(path, "the file is empty")
    if len(data) > most:
        raise UnreadableImage(path, f"it has {len(data):,} bytes, more than the {most:,} that are read: {RAISE_LIMIT}")
    return data


def bytes_of(image: Any, path: str, most: int) -> bytes:
    """Return the bytes of an image.

    Args:
        image: the bytes, a mapping with `bytes` or `path`, or a picture of Pillow.
        path: what errors call it.
        most: bytes at most.

    Raises:
        UnreadableImage: it is none of these, too large, or cannot be read.
    """
    if isinstance(image, dict):  # as Hugging Face stores images
        if image.get("bytes"):
            return checked(image["bytes"], path, most)
        from maetool.data.codecs.images import read_bytes

        return read_bytes(str(image.get("path")), most)
    if isinstance(image, bytes | bytearray | memoryview):
        return checked(bytes(image), path, most)
    try:
        array = np.asarray(image.convert("RGB") if getattr(image, "mode", "") in ("P", "CMYK", "1", "RGBA") else image)
    except Exception as error:  # whatever a damaged picture makes Pillow raise
        raise UnreadableImage(path, error or type(error).__name__) from error
    if array.dtype.kind not in "buif":
        raise UnreadableImage(path, f"it is no picture, but of type {type(image).__name__}")
    return npy_bytes(array, path, most)
