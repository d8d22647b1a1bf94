"""Looks at the first normalised batch, because means in other units than the data's make it anything but normal."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

# Photographs, even dark ones, lie within; data of 0 to 255 with means of 0 to 1, or the other way round, do not.
_FARTHEST_MEAN, _LEAST_DEVIATION, _LARGEST_DEVIATION = 4.0, 0.05, 5.0


def watch_first_batch(preprocessor: nn.Module, logger: logging.Logger) -> None:
    """Warn if the first batch that a preprocessor returns has a channel far from mean 0 and deviation 1.

    Args:
        preprocessor: a module whose output has `images`, normalised, (B, C, *size), or a mapping of names to them.
        logger: gets the warning.
    """

    def look(module: nn.Module, _: Any, batch: Any) -> None:
        handle.remove()
        images = batch.get("images") if isinstance(batch, Mapping) else None
        for name, value in images.items() if isinstance(images, Mapping) else [("", images)]:
            sentence = describe_scale(value, name) if isinstance(value, Tensor) else None
            if sentence:
                logger.warning(sentence)

    handle = preprocessor.register_forward_hook(look)


@torch.no_grad()
def describe_scale(images: Tensor, name: str = "") -> str | None:
    """Return a sentence about the channel of normalised images (B, C, *size) that is far from mean 0 and deviation 1.

    Args:
        images: of floating point; ids are not normalised.
        name: of the stream, if there are several.

    Returns:
        The sentence, or None if no channel is.
    """
    if not images.is_floating_point() or images.ndim < 3:
        return None
    values = images.float().transpose(0, 1).flatten(1)  # (C, B * pixels)
    mean, deviation = values.mean(dim=1), values.std(dim=1)
    far = (mean.abs() > _FARTHEST_MEAN) | (deviation < _LEAST_DEVIATION) | (deviation > _LARGEST_DEVIATION)
    channel = int(far.int().argmax())
    if not far[channel]:
        return None
    return (
        f"The first batch{f' of {name}' * bool(name)} is far from normalised: channel {channel} has mean "
        f"{mean[channel]:.3g} and deviation {deviation[channel]:.3g} instead of about 0 and 1. The mean and std of "
        "model.data_preprocessor must be in the units of the stored values (0 to 255 for photographs of 8 bits); "
        "maetool check FOLDER prints them."
    )
