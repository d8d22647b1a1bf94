"""Pictures of pixel classes."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from .pictures import caption_font
from .reconstruction import displayable

_GAP, _LINE = 6, 20
_BAR = (160, 200, 240)  # on which black letters can be read


def palette_of(num_classes: int) -> np.ndarray:
    """Return a colour for each of `num_classes` classes, uint8 (K, 3), by Pascal VOC's bit pattern.

    Bit 3i of the number is the highest free bit of red, bit 3i + 1 of green, 3i + 2 of blue. Class 0 is black.
    """
    numbers, colours = np.arange(num_classes), np.zeros((num_classes, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (numbers >> (3 * bit + channel) & 1).astype(np.uint8) << (7 - bit)
    return colours


def picture_of(image: Tensor, size: Sequence[int]) -> np.ndarray:
    """Return a stored image (C, H, W) as a picture of `size`, uint8 (height, width, 3)."""
    picture = Image.fromarray(displayable(image[None].float(), image[None])[0].numpy())
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def overlay(
    image: np.ndarray, semantic: np.ndarray, palette: Sequence[Sequence[int]] | np.ndarray, opacity: float = 0.5
) -> np.ndarray:
    """Blend the colours of the classes over a picture, uint8 (H, W, 3).

    Args:
        image: uint8 (H, W, 3).
        semantic: classes, int (H, W); values beyond the palette, such as 255, leave the picture unchanged.
        palette: a colour for each class.
        opacity: opacity of the colours, 0 to 1.
    """
    colours = np.asarray(palette, np.float32)
    in_palette = semantic < len(colours)
    laid = colours[np.where(in_palette, semantic, 0)]
    mixed = image + opacity * (laid - image)
    return np.where(in_palette[..., None], mixed.round(), image).astype(np.uint8)


def with_legend(picture: np.ndarray, names: Sequence[str], colours: Sequence[Sequence[int]] | np.ndarray) -> np.ndarray:
    """Add a legend below a picture, a line for each name with a square of its colour.

    Args:
        picture: uint8 (height, width, 3).
        names: one for each line.
        colours: red, green and blue of each, 0 to 255.

    Returns:
        uint8 (height, width, 3), wider than the picture where a name is.
    """
    font = caption_font(12)
    widest = max((int(font.getlength(name)) for name in names), default=0) + _LINE + _GAP
    width = max(picture.shape[1], widest + _GAP)
    canvas = Image.new("RGB", (width, picture.shape[0] + _GAP + _LINE * len(names)), "white")
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for number, (name, colour) in enumerate(zip(names, colours, strict=True)):
        top = picture.shape[0] + _GAP + number * _LINE
        draw.rectangle([_GAP, top, _GAP + 12, top + 12], fill=tuple(int(v) for v in colour), outline="black")
        draw.text((_GAP + _LINE, top - 1), name, fill="black", font=font)
    return np.asarray(canvas)


def with_bars(picture: np.ndarray, names: Sequence[str], shares: Sequence[float] = ()) -> np.ndarray:
    """Add names below a picture, a line for each, and under each name a bar as long as its share.

    Args:
        picture: uint8 (height, width, 3).
        names: one for each line.
        shares: of each, 0 to 1: of a bar as wide as the picture; without any, there are only names.

    Returns:
        uint8 (height, width, 3), wider than the picture where a name is.
    """
    font = caption_font(12)
    width = max([picture.shape[1], *(int(font.getlength(name)) + 3 * _GAP for name in names)])
    canvas = Image.new("RGB", (width, picture.shape[0] + _GAP + _LINE * len(names)), "white")
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for number, name in enumerate(names):
        top = picture.shape[0] + _GAP + number * _LINE
        if shares:
            end = _GAP + round(shares[number] * (width - 2 * _GAP))
            draw.rectangle([_GAP, top, end, top + _LINE - 4], fill=_BAR)
        draw.text((_GAP + 3, top), name, fill="black", font=font)
    return np.asarray(canvas)


def side_by_side(columns: Mapping[str, Sequence[np.ndarray]]) -> np.ndarray:
    """Return a table of pictures with a title above each column; uint8 (height, width, 3).

    Args:
        columns: pictures, uint8 (H, W, 3), by title: equal numbers, and equal sizes within a row.
    """
    rows = list(zip(*columns.values(), strict=True))
    width = max(row[0].shape[1] for row in rows)
    size = (_GAP + len(columns) * (width + _GAP), _LINE + sum(row[0].shape[0] + _GAP for row in rows))
    canvas = Image.new("RGB", size, "white")
    draw, font, top = ImageDraw.Draw(canvas), caption_font(11), _LINE
    lefts = [_GAP + column * (width + _GAP) for column in range(len(columns))]
    for left, title in zip(lefts, columns, strict=True):
        draw.text((left, 2), title, fill="black", font=font)
    for row in rows:
        for left, picture in zip(lefts, row, strict=True):
            canvas.paste(Image.fromarray(picture), (left, top))
        top += row[0].shape[0] + _GAP
    return np.asarray(canvas)
