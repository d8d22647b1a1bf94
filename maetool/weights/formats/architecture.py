"""Infers the architecture of an encoder from the shapes of its weights."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.pos_embed import grid_of_table
from maetool.positions import grid_in_file

# Attention heads by width: ViT-Ti, S, B, L (64 channels per head) and H (80); weights do not determine them.
_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
_KNOWN = re.compile(
    r"encoder\.(cls_token|mask_token|pos_embed|patch_embed\.proj\.\w+|norm\.\w+"
    r"|blocks\.\d+\.(norm1|norm2|attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)\.\w+)"
)


def describe_encoder(
    weights: Mapping[str, Tensor],
    source: str,
    num_heads: int | None = None,
    recorded: Sequence[int] | None = None,
    requested: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Return the config of the `VisionTransformer` that has these weights.

    Args:
        weights: weights under maetool's names.
        source: their file, for messages.
        num_heads: attention heads of a block; None is the usual number for the width.
        recorded, requested: the grid recorded beside the weights, and the one to use; see
            `maetool.positions.grid_in_file`.

    Raises:
        UsageError: no encoder, part of one, not a plain ViT, an unknown number of heads, or positions whose grid is
            unknown.
    """
    if not any(name.startswith("encoder.") for name in weights):
        raise UsageError(
            f"{source} holds no encoder: none of its {len(weights)} tensors is called encoder.something, and it has "
            f"no known format; the first is {next(iter(weights))}. Pass a checkpoint of pretraining."
        )
    kernel, table = (weights.get(f"encoder.{name}") for name in ("patch_embed.proj.weight", "pos_embed"))
    strange = [name for name in weights if name.startswith("encoder.") and not _KNOWN.fullmatch(name)]
    if kernel is None or kernel.ndim != 4 or table is None or strange:
        example = strange[0] if strange else next(iter(weights))
        raise UsageError(
            f"{source} does not describe its encoder, which is not a plain ViT ({example}): pass a config of it, "
            "for example --config maetool::mae/vit-b_800e.py."
        )
    depth = _depth(weights, source)
    width, channels, *patch = kernel.shape
    hidden = weights.get("encoder.blocks.0.mlp.fc1.weight")
    grid = grid_in_file(table, 1, recorded, requested) or _no_grid(table, source)
    return {
        "type": "VisionTransformer",
        "img_size": tuple(cells * pixels for cells, pixels in zip(grid, patch, strict=True)),
        "patch_size": tuple(patch),
        "in_chans": channels,
        "embed_dim": width,
        "depth": depth,
        "num_heads": num_heads or _heads(width, source),
        "mlp_ratio": 4.0 if hidden is None else len(hidden) / width,
        "pos_embed": "learned" if grid_of_table(table, 1) is None else "sincos",
        "final_norm": "encoder.norm.weight" in weights,
    }


def _depth(weights: Mapping[str, Tensor], source: str) -> int:
    blocks = {int(match[1]) for name in weights if (match := re.match(r"encoder\.blocks\.(\d+)\.", name))}
    depth = max(blocks, default=0) + 1
    missing = sorted(set(range(depth)) - blocks)
    if missing:
        raise UsageError(
            f"{source} holds part of an encoder: it has no block {missing[0]}. Copy the file again, or pass a "
            "checkpoint of a complete model."
        )
    return depth


def _no_grid(table: Tensor, source: str) -> NoReturn:
    raise UsageError(
        f"{source} has learned positions for {table.shape[1] - 1} patches, which is no square, and does not "
        "record the grid: pass the img_size that it was trained with, or a config with it."
    )


def _heads(width: int, source: str) -> int:
    if width not in _HEADS:
        raise UsageError(
            f"{source} does not describe its encoder, and the weights do not determine the heads of width {width}: "
            "pass a config of it (--config), or num_heads."
        )
    return _HEADS[width]
