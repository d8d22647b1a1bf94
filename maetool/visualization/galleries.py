"""Pictures of many images: neighbours in rows, clusters, colours of patches beside the images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from .overlays import side_by_side
from .pictures import caption_font, enlarged

_GAP, _LINE = 6, 16


def gallery(rows: Sequence[Sequence[np.ndarray]], captions: Sequence[Sequence[str]], side: int = 96) -> np.ndarray:
    """Return pictures in rows with a line of text below each, uint8 (height, width, 3); rows may differ in length.

    Args:
        rows: pictures, uint8 (H, W, 3) of any sizes.
        captions: one for each picture, cut to its width.
        side: pixels of the longer side of each picture.
    """
    font, columns = caption_font(10), max(map(len, rows))
    size = (_GAP + columns * (side + _GAP), _GAP + len(rows) * (side + _LINE + _GAP))
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for row, (pictures, texts) in enumerate(zip(rows, captions, strict=True)):
        top = _GAP + row * (side + _LINE + _GAP)
        for column, (picture, caption) in enumerate(zip(pictures, texts, strict=True)):
            left = _GAP + column * (side + _GAP)
            canvas.paste(Image.fromarray(fitted(picture, side)), (left, top))
            draw.text((left, top + side), _cut(caption, font, side), fill="black", font=font)
    return np.asarray(canvas)


def fitted(picture: np.ndarray, side: int) -> np.ndarray:
    """Return a picture, uint8 (H, W, 3), whose longer side is `side`, in the middle of a white square."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    resized = Image.fromarray(picture).resize((max(1, round(width * scale)), max(1, round(height * scale))), how)
    square = Image.new("RGB", (side, side), "white")
    square.paste(resized, ((side - resized.width) // 2, (side - resized.height) // 2))
    return np.asarray(square)


def _cut(caption: str, font: Any, width: int) -> str:
    """Return the end of a caption, where file names differ, if it is wider than `width` pixels."""
    if font.getlength(caption) <= width:
        return caption
    while caption and font.getlength(f"…{caption}") > width:
        caption = caption[1:]
    return f"…{caption}"


def patch_colours(pictures: Sequence[np.ndarray], components: Tensor) -> np.ndarray:
    """Return a picture with two columns, the images and the colours of their patches; uint8 (height, width, 3).

    Args:
        pictures: uint8 (H, W, 3), of equal size.
        components: (B, h, w, 3), see `maetool.visualization.patch_components`.
    """
    shown = list(map(enlarged, pictures))
    size = shown[0].shape[:2]
    large = functional.interpolate(components.permute(0, 3, 1, 2), size, mode="nearest").permute(0, 2, 3, 1)
    colours = list((large * 255).round().to(torch.uint8).numpy())
    return side_by_side({"image": shown, "components": colours})
