"""Sizes and grids: how many patches an image has, and how many of them stay visible."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from maetool._deprecated import moved
from maetool.errors import UsageError

Size = tuple[int, ...]
_AXES = {1: "length", 2: "height, width", 3: "frames, height, width"}


def to_size(value: int | Sequence[int], name: str, rank: int = 2) -> Size:
    """Return `value` as a tuple of `rank` positive integers; one integer stands for all axes.

    Args:
        value: an integer for all axes, or one integer for each.
        name: the argument's name, for the message.
        rank: the number of axes.

    Raises:
        UsageError: not integers, not positive, or another number of them.
    """
    values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * rank
    if len(values) != rank or not all(type(v) is int and v > 0 for v in values):
        example = (224,) * rank
        raise UsageError(f"{name} is {value!r}, but must be a positive integer or {rank} of them, such as {example}.")
    return values


def rank_of(*sizes: int | Sequence[int]) -> int:
    """Return how many axes sizes have: as many as the first that is a sequence; integers alone stand for two axes.

    Raises:
        UsageError: fewer than 1 or more than 3.
    """
    rank = next((len(size) for size in sizes if isinstance(size, Sequence)), 2)
    if rank not in (1, 2, 3):
        raise UsageError(f"A size is {next(filter(_is_sequence, sizes))!r}, but must have 1, 2 or 3 axes.")
    return rank


def _is_sequence(size: object) -> bool:
    return isinstance(size, Sequence)


def grid_of(image_size: Sequence[int], patch_size: Sequence[int]) -> Size:
    """Return how many patches lie along each axis, for example (h, w).

    Args:
        image_size: height and width in pixels, or as many sides as the image has axes.
        patch_size: the sides of a patch, in pixels.

    Raises:
        UsageError: an image side is not a multiple of the patch side; the message gives both and the nearest that is.
    """
    if any(s % p for s, p in zip(image_size, patch_size, strict=True)):
        fits = tuple(max(p, round(s / p) * p) for s, p in zip(image_size, patch_size, strict=True))
        raise UsageError(
            f"An image of {format_size(image_size)} pixels does not divide into patches of {format_size(patch_size)}: "
            f"the nearest size that fits is {format_size(fits)}."
        )
    return tuple(s // p for s, p in zip(image_size, patch_size, strict=True))


def check_images(images: Any, in_chans: int, rank: int = 2) -> None:
    """Check that images are (B, C, H, W), or of another rank (B, C, *size).

    Args:
        images: a tensor.
        in_chans: C.
        rank: axes of `size`, 1 to 3.

    Raises:
        UsageError: several streams, another shape, or another number of channels.
    """
    if not isinstance(images, Tensor):
        names = ", ".join(map(str, images)) if isinstance(images, Mapping) else type(images).__name__
        raise UsageError(
            f"The encoder takes one tensor of images, but got {names}: use StreamTransformer for several streams."
        )
    if images.ndim != rank + 2 or images.shape[1] != in_chans:
        axes = images.ndim - 2
        other = f"img_size and patch_size of the encoder to {axes} numbers each"
        raise UsageError(
            f"The encoder takes images of shape (batch, {in_chans}, {_AXES[rank]}), but got "
            f"{tuple(images.shape)}: set {other if axes in _AXES and axes != rank else 'encoder.in_chans'}, or convert "
            "the images."
        )


def is_symbolic(sides: Sequence[int]) -> bool:
    """Return whether a side is left open, in `torch.export`: to compare it would fix it, in some graphs unnoticed.

    Args:
        sides: lengths of axes.
    """
    return any(isinstance(side, torch.SymInt) for side in sides)


def count_steps(length: int, step: int) -> int:
    """Return how many steps cover a length.

    Not written as minus the quotient of minus the length: ONNX divides towards zero, Python downwards.

    Args:
        length: at least 0.
        step: at least 1.
    """
    return (length + step - 1) // step


def fill_up(x: Tensor, steps: Sequence[int], first: int = 2) -> Tensor:
    """Return x with zeros at the ends of some axes, so that each of them is a multiple of its step.

    Args:
        x: of any shape.
        steps: those of the axes from `first` on.
        first: the first of these axes; images (B, C, H, W) have 2.
    """
    sides = x.shape[first : first + len(steps)]
    # This form of the remainder keeps the multiple in sight of `torch.export`, which else takes minutes.
    missing = [count_steps(side, step) * step - side for side, step in zip(sides, steps, strict=True)]
    if not is_symbolic(missing) and not any(missing):
        return x
    after = [0, 0] * (x.ndim - first - len(steps))
    return pad(x, [*after, *(end for number in reversed(missing) for end in (0, number))])


def format_size(size: Sequence[int]) -> str:
    """Return a size as people write it: (224, 192) is "224x192"."""
    return "x".join(str(s) for s in size)


def count_kept(length: int, mask_ratio: float, round_up: bool = False) -> int:
    """Return how many of `length` patches stay visible when `mask_ratio` of them are removed.

    The count is rounded down, as MAE's code does, or up, as CAPI's does, but a product within 1e-6 of an integer is
    that integer: `int(100 * (1 - 0.9))` keeps 9 patches where 10 are meant.

    Args:
        length: patches of an image.
        mask_ratio: the removed fraction, in (0, 1).
        round_up: round the number of visible patches up.

    Raises:
        UsageError: a ratio outside (0, 1), or one that leaves no patch visible or none removed.
    """
    if isinstance(mask_ratio, bool) or not isinstance(mask_ratio, int | float) or not 0 < mask_ratio < 1:
        raise UsageError(f"mask_ratio is {mask_ratio!r}, but must be a number between 0 and 1, such as 0.75.")
    exact = length * (1 - mask_ratio)
    rounded = math.ceil if round_up else math.floor
    kept = round(exact) if abs(exact - round(exact)) < 1e-6 else rounded(exact)
    if kept < 1:
        raise UsageError(
            f"mask_ratio {mask_ratio} leaves no visible patch of {length}: use at most {1 - 1 / length:.3f}, "
            "or smaller patches."
        )
    if kept == length:
        raise UsageError(
            f"mask_ratio {mask_ratio} removes none of {length} patches: use at least {1 / length:.3f}, "
            "or smaller patches."
        )
    return kept


__getattr__ = moved(__name__, {"by": "maetool.ops.geometry.format_size"}, "0.3.0")
