"""Statistics of patches, and numbers of channels."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from maetool.errors import UsageError

EPS = 1e-6  # added to the variance, as in MAE


def patch_stats(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation sqrt(var + 1e-6) of each patch (..., P), both (..., 1) in float32.

    The variance is unbiased (divided by P - 1), as in MAE; that of a single number is 0.

    Args:
        patches: (..., P), of any floating dtype.
    """
    correction = min(1, patches.shape[-1] - 1)
    var, mean = torch.var_mean(patches.float(), dim=-1, keepdim=True, correction=correction)
    return mean, (var + EPS).sqrt()


def check_normalisable(numbers: int, option: str, instead: str) -> None:
    """Check that what is normalised on its own holds more than one number.

    Args:
        numbers: P, those of a patch or token.
        option: what asks for it, for the message.
        instead: the option to set in its place.

    Raises:
        UsageError: it is a single number, of which normalising leaves 0.
    """
    if numbers < 2:
        raise UsageError(
            f"{option} subtracts the mean of each patch, but a patch holds {numbers} number here, so that only 0 "
            f"remains: set {instead}, or take larger patches."
        )


def check_deviations(std: Sequence[float], owner: str) -> None:
    """Check that images can be divided by the standard deviations of their channels.

    Args:
        std: one for each channel, in the units of the images.
        owner: whose they are, for the message.

    Raises:
        UsageError: one is not above 0, or not finite.
    """
    if not all(0 < value < math.inf for value in std):
        raise UsageError(f"The standard deviations of {owner} are {list(std)}, but must be positive.")


def along_channels(values: Tensor, images: Tensor) -> Tensor:
    """Return the numbers of C channels, of any shape, as (C, 1, ...), which broadcasts along axis 1 of images.

    Args:
        values: C numbers, or a single one for all channels.
        images: (B, C, *size) of any rank: series, pictures, clips.

    Raises:
        UsageError: axis 1 of the images is not that of the C channels.
    """
    if images.ndim < 2 or values.numel() not in (1, images.shape[1]):
        raise UsageError(
            f"The images have the shape {tuple(images.shape)}, but must have {values.numel()} channels along axis 1, "
            "behind the batch: (batch, channels, height, width), or (batch, channels, frames, height, width)."
        )
    return values.view(-1, *[1] * (images.ndim - 2))


def numbers_of_streams(
    encoder: Any, numbers: Sequence[float] | Mapping[str, Sequence[float]]
) -> dict[str, tuple[float, ...]]:
    """Return the numbers of the channels of each stream, such as their means; of those alone that have any.

    Args:
        encoder: of several streams, with `split`, which says what part of its inputs each stream is.
        numbers: one for each channel of what it reads, or name of each of its inputs to such.
    """
    inputs = list(getattr(encoder, "stems", None) or numbers)
    named = numbers if isinstance(numbers, Mapping) else dict.fromkeys(inputs, numbers)
    batch = {name: torch.tensor(tuple(named.get(name, ()))).view(1, -1, 1) for name in inputs}
    parts = encoder.split(batch)
    return {stream: tuple(part.flatten().tolist()) for stream, part in parts.items() if part.numel()}
