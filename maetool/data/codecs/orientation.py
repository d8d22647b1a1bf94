"""How EXIF says that a photograph is to be turned before it is looked at (EXIF 2.32, tag 274)."""

import torch
from torch import Tensor

from .image_size import open_by_pillow
from .jpeg import JpegHeader

UPRIGHT = 1
_TAG = 0x0112


def orientation_of(data: bytes, header: JpegHeader | None = None) -> int:
    """Return the orientation that a photograph states, 1 to 8; 1, upright, where it states none.

    Args:
        data: the content of a file.
        header: what `read_header` gave, for a JPEG file.
    """
    if header is not None and not header.has_exif:
        return UPRIGHT
    try:
        with open_by_pillow(data, None) as image:
            value = image.getexif().get(_TAG, UPRIGHT)
    except Exception:  # damaged EXIF raises whatever Pillow meets, and damaged images are told of by the decoder
        return UPRIGHT
    return value if value in range(1, 9) else UPRIGHT


def turned(image: Tensor, orientation: int) -> Tensor:
    """Return an image (C, H, W) as EXIF's `orientation`, 1 to 8, shows it; 5 to 8 swap height and width."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(-2, -1)
    axes = {2: (-1,), 3: (-2, -1), 4: (-2,), 6: (-1,), 7: (-2, -1), 8: (-2,)}.get(orientation)
    return torch.flip(image, axes) if axes else image
