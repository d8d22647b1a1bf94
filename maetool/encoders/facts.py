"""What the encoders check alike: choices, images, plans; and where their parameters lie."""

from collections.abc import Collection, Mapping, Sequence
from math import ceil
from typing import Any, Literal

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.geometry import check_images as check_images  # also the name that encoders look for here
from maetool.ops.geometry import format_size, rank_of, to_size
from maetool.structures import Layout, MaskPlan

# "visible": removed patches are dropped; "all": every place has a token, the removed ones a mask token.
Sees = Literal["visible", "all"]
# "blank": the removed patches that a plan leaves blank have a mask token, the others are dropped.
SeesBlank = Literal["visible", "all", "blank"]


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`.

    Args:
        name: the argument, for the message.
        value: what it was set to.
        choices: what it may be.

    Raises:
        UsageError: it is none of the choices.
    """
    if value not in choices:
        raise UsageError(f"{name} is {value!r}, but must be {' or '.join(repr(choice) for choice in choices)}.")
    return value


def check_size(images: Tensor, img_size: Sequence[int]) -> None:
    """Check that images have the one size that an encoder is made for.

    Args:
        images: (B, C, H, W).
        img_size: height and width in pixels.

    Raises:
        UsageError: they have another size.
    """
    if tuple(images.shape[2:]) != tuple(img_size):
        raise UsageError(
            f"The encoder is made for images of {format_size(img_size)} pixels, but got "
            f"{format_size(images.shape[2:])}: "
            "set encoder.img_size, or resize the images."
        )


def check_stride(img_size: Sequence[int], stride: Sequence[int]) -> None:
    """Check that an image divides into the tokens of a hierarchical encoder.

    Args:
        img_size: pixels of the image along each axis.
        stride: pixels that a token of the last stage covers along each axis.

    Raises:
        UsageError: it does not; the message gives the nearest size that does.
    """
    if any(side % step for side, step in zip(img_size, stride, strict=True)):
        fits = [max(step, round(side / step) * step) for side, step in zip(img_size, stride, strict=True)]
        raise UsageError(
            f"The last tokens of the encoder cover {format_size(stride)} pixels, which does not divide an image of "
            f"{format_size(img_size)}: the nearest size that fits is {format_size(fits)}."
        )


def small_vit(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the small form of a plain encoder: 4 patches along each axis, two blocks, 16 channels a head.

    Pictures of patches below 4 pixels have 8 or 16 patches along each axis: the drawn ones need 16 pixels.

    Args:
        arguments: those of the encoder at full size.
    """
    rank = rank_of(arguments["patch_size"], arguments["img_size"])
    patch_size = to_size(arguments["patch_size"], "patch_size", rank)
    patches = 4 * max(1, ceil(4 / min(patch_size))) if rank == 2 else 4
    return {
        "img_size": tuple(patches * side for side in patch_size),
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


def check_plan(plan: MaskPlan, grid: tuple[int, ...], takes: Collection[str] = ()) -> None:
    """Check that a plan is for this grid, and has nothing that an encoder would not look at.

    Args:
        plan: of the batch.
        grid: of the batch.
        takes: which of "blank" and "keep_valid" the encoder heeds; of a plan that has another one, what is hidden
            would be seen.

    Raises:
        UsageError: it is for another grid, or has more than the encoder heeds.
    """
    if plan.grid != grid:
        raise UsageError(
            f"The plan is for a grid of {format_size(plan.grid)} patches, but the images have {format_size(grid)}: "
            "make the plan for these images."
        )
    check_heeded(plan, takes)


def check_layout(plan: MaskPlan, layout: Layout, takes: Collection[str] = ()) -> None:
    """Check that a plan is for this layout of streams, and has nothing that an encoder would not look at.

    Args:
        plan, layout: of the batch.
        takes: see `check_plan`.

    Raises:
        UsageError: it is for another one, or has more than the encoder heeds.
    """
    names = [list(each.grids) for each in (plan.layout, layout)]
    if not plan.layout.matches(layout) or (len(names[0]) > 1 and names[0] != names[1]):
        raise UsageError(
            f"The plan is for the layout {plan.layout}, but the batch has {layout}: make the plan for this batch."
        )
    check_heeded(plan, takes)


def check_heeded(plan: MaskPlan, takes: Collection[str]) -> None:
    """Check that a plan has no blank or padded places that an encoder would take for visible ones; see `check_plan`.

    Args:
        plan: of the batch.
        takes: which of "blank" and "keep_valid" the encoder heeds.

    Raises:
        UsageError: the plan has one that the encoder does not heed.
    """
    if plan.blank is not None and "blank" not in takes:
        raise UsageError(
            "The plan leaves places blank, which this encoder would treat as visible: use one with sees='blank', such "
            "as VisionTransformer, or a masker without blank places."
        )
    if plan.keep_valid is not None and "keep_valid" not in takes:
        raise UsageError(
            "The samples of the plan keep different numbers of patches, and this encoder would treat the padding as "
            "visible: use VisionTransformer, or a masker that keeps equal numbers."
        )


def ids_to_embed(plan: MaskPlan) -> Tensor:
    """Return whose pixels are read, int64 (B, V): `plan.ids_keep`, with a visible patch in place of hidden ones.

    So not even a NaN in blank or padded places reaches a gradient.
    """
    if plan.blank is None and plan.keep_valid is None:
        return plan.ids_keep
    hidden = torch.zeros_like(plan.ids_keep, dtype=torch.bool) if plan.blank is None else plan.blank
    hidden = hidden if plan.keep_valid is None else hidden | ~plan.keep_valid
    seen = hidden.to(torch.uint8).argmin(dim=1, keepdim=True)  # a place that is visible
    return torch.where(hidden, plan.ids_keep.gather(1, seen), plan.ids_keep)


def relative_tables(module: nn.Module) -> list[str]:
    """Return the names of the tables of relative positions in windows that a module of timm has."""
    return [name for name, _ in module.named_parameters() if name.endswith("relative_position_bias_table")]
