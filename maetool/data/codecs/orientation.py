"""How EXIF says that a photograph is to be turned before it is looked at (EXIF 2.32, tag 274)."""

import io

import numpy as np
import tifffile
import torch
from PIL import Image
from torch import Tensor

from .image_size import open_by_pillow
from .jpeg import JpegHeader
from .tiff import MAGIC

UPRIGHT = 1
TAG = 0x0112


def orientation_of(data: bytes, header: JpegHeader | None = None) -> int:
    """Return the orientation that a photograph states, 1 to 8; 1, upright, where it states none.

    Args:
        data: the content of a file.
        header: what `read_header` gave, for a JPEG file.
    """
    if header is not None and not header.has_exif:
        return UPRIGHT
    try:
        if data.startswith(MAGIC):  # Pillow opens but a few of them
            with tifffile.TiffFile(io.BytesIO(data)) as tiff:
                tag = tiff.pages[0].keyframe.tags.get(TAG)
                value = UPRIGHT if tag is None else int(tag.value)
        else:
            with open_by_pillow(data, None) as image:
                value = image.getexif().get(TAG, UPRIGHT)
    except Exception:  # damaged EXIF raises whatever Pillow meets, and damaged images are told of by the decoder
        return UPRIGHT
    return value if value in range(1, 9) else UPRIGHT


def turned(image: Tensor, orientation: int) -> Tensor:
    """Return an image (C, H, W) as EXIF's `orientation`, 1 to 8, shows it; 5 to 8 swap height and width."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(-2, -1)
    axes = {2: (-1,), 3: (-2, -1), 4: (-2,), 6: (-1,), 7: (-2, -1), 8: (-2,)}.get(orientation)
    return torch.flip(image, axes) if axes else image


def stored_pixels(picture: Image.Image, mode: str | None = None) -> np.ndarray:
    """Return the pixels of a picture of Pillow (H, W) or (H, W, C) as they are stored.

    Pillow turns a TIFF by itself when it loads it, and nothing else; that is undone.

    Args:
        picture: it may be loaded already.
        mode: of Pillow, that it is converted to; None, its own.
    """
    if picture.format != "TIFF":
        return _values(picture, mode)
    orientation = picture.getexif().get(TAG, UPRIGHT)
    pixels = torch.from_numpy(_values(picture, mode))
    back = {6: 8, 8: 6}.get(orientation, orientation)
    if pixels.ndim == 2:
        return turned(pixels, back).numpy()
    return turned(pixels.permute(2, 0, 1), back).permute(1, 2, 0).numpy()


def _values(picture: Image.Image, mode: str | None) -> np.ndarray:
    # `convert` copies even where there is nothing to do.
    return np.array(picture if mode in (None, picture.mode) else picture.convert(mode))
