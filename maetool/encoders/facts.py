"""What the encoders check alike: choices, images, plans; and where their parameters lie."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.geometry import by, to_size
from maetool.structures import MaskPlan

# "visible": removed patches are dropped; "all": every place has a token, the removed ones a mask token.
Sees = Literal["visible", "all"]


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """Return `value`.

    Raises:
        UsageError: it is none of the choices.
    """
    if value not in choices:
        raise UsageError(f"{name} is {value!r}, but must be {' or '.join(repr(choice) for choice in choices)}.")
    return value


def check_images(images: Tensor, in_chans: int) -> None:
    """Check that images are (B, C, H, W).

    Raises:
        UsageError: another shape, or another number of channels.
    """
    if images.ndim != 4 or images.shape[1] != in_chans:
        raise UsageError(
            f"The encoder takes images of shape (batch, {in_chans}, height, width), but got "
            f"{tuple(images.shape)}: set encoder.in_chans, or convert the images."
        )


def check_size(images: Tensor, img_size: Sequence[int]) -> None:
    """Check that images (B, C, H, W) have the one size that an encoder is made for.

    Raises:
        UsageError: they have another.
    """
    if tuple(images.shape[2:]) != tuple(img_size):
        raise UsageError(
            f"The encoder is made for images of {by(img_size)} pixels, but got {by(images.shape[2:])}: "
            "set encoder.img_size, or resize the images."
        )


def check_stride(img_size: Sequence[int], stride: Sequence[int]) -> None:
    """Check that an image divides into the tokens of a hierarchical encoder.

    Raises:
        UsageError: it does not; the message gives the nearest size that does.
    """
    if any(side % step for side, step in zip(img_size, stride, strict=True)):
        fits = [max(step, round(side / step) * step) for side, step in zip(img_size, stride, strict=True)]
        raise UsageError(
            f"The last tokens of the encoder cover {by(stride)} pixels, which does not divide an image of "
            f"{by(img_size)}: the nearest size that fits is {by(fits)}."
        )


def small_vit(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the small form of a plain encoder: an image of 4 x 4 patches, two blocks, 16 channels a head."""
    patch_size = to_size(arguments["patch_size"], "patch_size")
    return {
        "img_size": tuple(4 * side for side in patch_size),
        "embed_dim": 16 * arguments["num_heads"],
        "depth": 2,
    }


def layer_in_blocks(name: str, before: Sequence[str], after: Sequence[str] = ("norm",)) -> int:
    """Return the layer of a parameter for layer-wise decay of the learning rate, of an encoder with one list `blocks`.

    Args:
        name: relative to the encoder.
        before: first parts of the names of what enters the first block, layer 0.
        after: first parts of the names of what follows the last block, layer -1: it learns as fast as the head.

    Returns:
        0, i + 1 for `blocks.i`, or -1.

    Raises:
        UsageError: a name of none of these.
    """
    part, _, rest = name.partition(".")
    if part == "blocks":
        return int(rest.partition(".")[0]) + 1
    if part not in (*before, *after):
        raise UsageError(
            f"The parameter {name} of the encoder has no layer: known are {', '.join(before)}, blocks.N and "
            f"{', '.join(after)}; override layer_of, or use constructor=DecayGroupsConstructor, one rate for all."
        )
    return 0 if part in before else -1


def check_plan(plan: MaskPlan, grid: tuple[int, ...]) -> None:
    """Check that a plan is for this grid.

    Raises:
        UsageError: it is for another one.
    """
    if plan.grid != grid:
        raise UsageError(
            f"The plan is for a grid of {by(plan.grid)} patches, but the images have {by(grid)}: "
            "make the plan for these images."
        )


def relative_tables(module: nn.Module) -> list[str]:
    """Return the names of the tables of relative positions in windows that a module of timm has."""
    return [name for name, _ in module.named_parameters() if name.endswith("relative_position_bias_table")]
