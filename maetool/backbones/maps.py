"""The tokens of an encoder as maps."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn.functional import pad

from maetool.errors import UsageError
from maetool.ops.geometry import format_size


def check_maps(encoder: Any) -> None:
    """Check that an encoder gives one token for each patch of pictures, so that its tokens are a map.

    Raises:
        UsageError: it has several streams, or reads other than pictures, or its tokens cover several patches, as those
            of hierarchical encoders do.
    """
    names, axes = getattr(encoder, "streams", ()), len(encoder.patch_size) if hasattr(encoder, "patch_size") else 2
    if names or axes != 2:
        reads = f"the streams {', '.join(names)}" if names else f"patches of {axes} axes"
        raise UsageError(
            f"{type(encoder).__name__} has {reads}, but maps are of one grid of height and width: use an encoder of "
            "one stream of pictures, such as VisionTransformer."
        )
    stride, patch_size = tuple(getattr(encoder, "stride", encoder.patch_size)), tuple(encoder.patch_size)
    if stride != patch_size:
        raise UsageError(
            f"A token of {type(encoder).__name__} covers {format_size(stride)} pixels and not one patch of "
            f"{format_size(patch_size)}, so "
            "there is no map of its patches: use an encoder with one token a patch, such as VisionTransformer."
        )


def feature_maps(encoder: Any, images: Tensor, layers: Sequence[int] | None) -> list[Tensor]:
    """Return the raw patch tokens of some layers of an encoder as maps (B, D, h, w), or its normalised last tokens.

    Images that do not divide into patches get zeros, the mean of normalised images, at the right and below.

    Args:
        encoder: whose last tokens are its patches, or whose layers can be read; see `maetool.layers.run_blocks`.
        images: (B, C, H, W), normalised.
        layers: which ones; -1 is what leaves the last block. None gives one map, of the normalised last tokens.

    Raises:
        UsageError: layers that there are not, or images that the encoder does not take.
    """
    below, right = (-side % step for side, step in zip(images.shape[2:], encoder.patch_size, strict=True))
    images = pad(images, (0, right, 0, below)) if below or right else images
    grid, prefix = encoder.grid_of(images), encoder.num_prefix_tokens
    levels = [encoder(images)] if layers is None else encoder(images, layers=layers)  # each (B, T + L, D)
    return [tokens[:, prefix:].transpose(1, 2).unflatten(2, grid) for tokens in levels]
