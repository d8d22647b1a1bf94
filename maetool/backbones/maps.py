"""The tokens of an encoder as maps."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from maetool.errors import UsageError
from maetool.layers import find_even_layers
from maetool.ops.geometry import fill_up, format_size
from maetool.registry import MODELS

Layers = Sequence[int] | Literal["stages"] | None


def check_maps(encoder: Any, layers: Layers = None) -> None:
    """Check that what a pyramid reads of an encoder are maps of pictures.

    Args:
        encoder: any.
        layers: what the pyramid reads: layers, which must have one token for each patch; "stages", the maps that the
            encoder's method of that name gives; or None, the last tokens.

    Raises:
        UsageError: it has several streams, or reads other than pictures; it has no such layers, or no stages; or its
            tokens cover several patches, as those of some hierarchical encoders do.
    """
    names, axes = getattr(encoder, "streams", ()), len(encoder.patch_size) if hasattr(encoder, "patch_size") else 2
    if names or axes != 2:
        reads = f"the streams {', '.join(names)}" if names else f"patches of {axes} axes"
        raise UsageError(
            f"{type(encoder).__name__} has {reads}, but maps are of one grid of height and width: use an encoder of "
            "one stream of pictures, such as VisionTransformer."
        )
    if layers == "stages":
        return _check_stages(encoder)
    stride, patch_size = tuple(getattr(encoder, "stride", encoder.patch_size)), tuple(encoder.patch_size)
    if stride != patch_size:
        raise UsageError(
            f"A token of {type(encoder).__name__} covers {format_size(stride)} pixels and not one patch of "
            f"{format_size(patch_size)}, so "
            "there is no map of its patches: use an encoder with one token a patch, such as VisionTransformer."
        )
    if layers is not None:
        find_even_layers(encoder, layers, "A pyramid")


def _check_stages(encoder: Any) -> None:
    if not hasattr(encoder, "stages"):
        raise UsageError(
            f"{type(encoder).__name__} has no stages of different strides: use an encoder that has, such as Hybrid"
            "Transformer, or a pyramid of layers, SimpleFeaturePyramid or LayerPyramid."
        )


def build_pyramid(encoder: Any, pyramid: Any, **more: Any) -> Any:
    """Return a pyramid, built with what it leaves out about an encoder, and checked with it.

    Args:
        encoder: built.
        pyramid: config or module.
        **more: further arguments that its config may leave out.

    Raises:
        UsageError: see `check_maps`.
    """
    facts = {name: getattr(encoder, name, None) for name in ("embed_dim", "num_layers", "stage_dims")}
    built = MODELS.build(pyramid, default_args={**facts, **more})
    check_maps(encoder, built.layers)
    return built


def feature_maps(encoder: Any, images: Tensor, layers: Layers) -> list[Tensor]:
    """Return the raw patch tokens of some layers of an encoder as maps (B, D, h, w), or its normalised last tokens.

    Images that do not divide into patches get zeros, the mean of normalised images, at the right and below.

    Args:
        encoder: whose last tokens are its patches, or whose layers can be read; see `maetool.layers.run_blocks`.
        images: (B, C, H, W), normalised.
        layers: which ones; -1 is what leaves the last block. None gives one map, of the normalised last tokens, and
            "stages" the maps (B, C, rows, columns) of the encoder's stages.

    Raises:
        UsageError: layers that there are not, or images that the encoder does not take.
    """
    images = fill_up(images, encoder.patch_size)
    if layers == "stages":
        return encoder.stages(images)
    grid, prefix = encoder.grid_of(images), encoder.num_prefix_tokens
    levels = [encoder(images)] if layers is None else encoder(images, layers=layers)  # each (B, T + L, D)
    return [tokens[:, prefix:].transpose(1, 2).unflatten(2, grid) for tokens in levels]
