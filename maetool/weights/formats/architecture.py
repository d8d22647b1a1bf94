"""Infers the architecture of an encoder from the shapes of its weights."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.pos_embed import grid_of_table
from maetool.positions import grid_in_file

from .beit import describe_beit, is_beit
from .dinov2 import describe_dinov2, is_gated_dinov2
from .dinov3 import describe_dinov3, is_dinov3
from .plain import as_plain
from .swin import describe_swin, is_swin

# Attention heads by width: ViT-Ti, S, B, L (64 channels per head) and H (80); weights do not determine them.
_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
_KNOWN = re.compile(
    r"encoder\.(cls_token|reg_token|mask_token|pos_embed|patch_embed\.proj\.(weight|bias)|norm\.(weight|bias)"
    r"|blocks\.\d+\.((norm1|norm2|attn\.qkv|attn\.proj|attn\.[qk]_norm|mlp\.fc1|mlp\.fc2)\.(weight|bias)"
    r"|ls[12]\.gamma|attn\.[qv]_bias))"
)
_HEAD = re.compile(r"encoder\.(head|fc_norm|head_dist|pooler|lm_head)\..*")  # which no encoder has
_BLOCK = "encoder.blocks.0."
_SHOWN = 3  # names in a message
_CLIP = (16, 224, 224)  # frames, height and width in VideoMAE's training
# Encoders other than a plain ViT: how their weights are recognised, and what they are.
_FAMILIES = (
    (is_dinov3, describe_dinov3),
    (is_gated_dinov2, describe_dinov2),
    (is_beit, describe_beit),
    (is_swin, describe_swin),
)


def describe_encoder(
    weights: Mapping[str, Tensor],
    source: str,
    num_heads: int | None = None,
    recorded: Sequence[int] | None = None,
    requested: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Return the config of the encoder that has these weights.

    It is a `VisionTransformer`, also VideoMAE's, a `SwinTransformer`, or a `TimmEncoder` of BEiT and DINOv3.

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
    weights = weights if is_dinov3(weights) else as_plain(weights)
    weights = {name: value for name, value in weights.items() if not _HEAD.fullmatch(name)}
    for recognises, describe in _FAMILIES:
        if recognises(weights):
            return describe(weights, source, requested or recorded, num_heads)
    strange = [name for name in weights if name == "pooler.probe"]  # of SigLIP, whose activation is in no file
    kernel, table = (weights.get(f"encoder.{name}") for name in ("patch_embed.proj.weight", "pos_embed"))
    strange += [name for name in weights if name.startswith("encoder.") and not _KNOWN.fullmatch(name)]
    is_video = kernel is not None and kernel.ndim == 5 and table is None and "encoder.cls_token" not in weights
    if strange or kernel is None or not (kernel.ndim == 4 or is_video):
        raise _not_plain(source, strange or [next(name for name in weights if name.startswith("encoder."))])
    _check_block(weights, source)
    depth = _depth(weights, source)
    width, channels, *patch = kernel.shape
    if is_video:
        grid, positions = tuple(requested or recorded or _grid_of_clip(patch, source)), "flat"
    elif table is None:  # rotary positions have no weights, and come in several kinds
        raise _not_plain(source, ["without encoder.pos_embed"])
    else:
        grid, positions = _table_of(table, _prefix(weights), source, recorded, requested)
    return {
        "type": "VisionTransformer",
        "img_size": tuple(cells * pixels for cells, pixels in zip(grid, patch, strict=True)),
        "patch_size": tuple(patch),
        "in_chans": channels,
        "embed_dim": width,
        "depth": depth,
        "num_heads": num_heads or _heads_of_norms(weights, width) or _heads(width, source),
        "mlp_ratio": _mlp_ratio(weights, width),
        "pos_embed": positions,
        "final_norm": "encoder.norm.weight" in weights,
        **_additions(weights, source),
    }


def is_gated(weights: Mapping[str, Tensor]) -> bool:
    """Return whether the hidden layers of weights under maetool's names are gated, as those of large DINOv3 are."""
    return any(name.startswith((f"{_BLOCK}mlp.w1.", f"{_BLOCK}mlp.fc1_g.")) for name in weights)


def _not_plain(source: str, names: Sequence[str]) -> UsageError:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return UsageError(
        f"{source} does not describe its encoder, which is not a plain ViT ({', '.join(names[:_SHOWN])}{more}): pass a "
        "config of it, for example --config maetool::mae/vit-b_800e.py, or its name in timm, --config timm:NAME."
    )


def _prefix(weights: Mapping[str, Tensor]) -> int:
    registers = weights.get("encoder.reg_token")
    return int("encoder.cls_token" in weights) + (0 if registers is None else registers.shape[1])


def _mlp_ratio(weights: Mapping[str, Tensor], width: int) -> float:
    hidden = weights.get(f"{_BLOCK}mlp.fc1.weight")
    return 4.0 if hidden is None else len(hidden) / width


def _additions(weights: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """Return the arguments of what the encoder has beside, or lacks of, a plain ViT."""
    block = {name.removeprefix(_BLOCK): value for name, value in weights.items() if name.startswith(_BLOCK)}
    registers = _prefix(weights) - int("encoder.cls_token" in weights)
    split, qkv_bias = {"attn.q_bias", "attn.v_bias"} <= block.keys(), "attn.qkv.bias" in block
    present: dict[str, Any] = {
        "class_token": (True, "encoder.cls_token" in weights),
        "num_registers": (0, registers),
        "layer_scale": (None, 1.0 if "ls1.gamma" in block else None),
        "qkv_bias": (True, "qv" if split and not qkv_bias else qkv_bias or not block),
        "qk_norm": (False, "attn.q_norm.weight" in block),
    }
    return {name: value for name, (usual, value) in present.items() if value != usual}


def _check_block(weights: Mapping[str, Tensor], source: str) -> None:
    """Check what names alone do not say: RMS norms, which are layer norms without a bias, and packed gated layers."""
    norm, fc1, fc2 = (f"{_BLOCK}{name}" for name in ("norm1", "mlp.fc1.weight", "mlp.fc2.weight"))
    if f"{norm}.weight" in weights and f"{norm}.bias" not in weights:
        raise _not_plain(source, [f"{norm}.weight without {norm}.bias"])
    if fc1 in weights and fc2 in weights and len(weights[fc1]) != weights[fc2].shape[1]:
        raise _not_plain(source, [f"{fc1} of {len(weights[fc1])} channels before {weights[fc2].shape[1]}"])


def _heads_of_norms(weights: Mapping[str, Tensor], width: int) -> int | None:
    """Return the heads that norms of queries tell, which are as wide as a head or as all of them."""
    norm = weights.get(f"{_BLOCK}attn.q_norm.weight")
    return None if norm is None or len(norm) in (0, width) else width // len(norm)


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


def _table_of(
    table: Tensor, prefix: int, source: str, recorded: Sequence[int] | None, requested: Sequence[int] | None
) -> tuple[tuple[int, ...], str]:
    """Return the grid of a table of positions, and its kind."""
    grid = grid_in_file(table, prefix, recorded, requested)
    if grid is not None:
        return grid, "learned" if grid_of_table(table, prefix) is None else "sincos"
    raise UsageError(
        f"{source} has learned positions for {table.shape[1] - prefix} patches, which is no square, and does not "
        "record the grid: pass the img_size that it was trained with, or a config with it."
    )


def _grid_of_clip(patch: Sequence[int], source: str) -> tuple[int, ...]:
    """Return the grid of VideoMAE's clips, whose positions are fixed and in no file."""
    if any(side % step for side, step in zip(_CLIP, patch, strict=True)):
        raise UsageError(f"{source} does not record the size of its clips: pass img_size, (frames, height, width).")
    return tuple(side // step for side, step in zip(_CLIP, patch, strict=True))


def _heads(width: int, source: str) -> int:
    if width not in _HEADS:
        raise UsageError(
            f"{source} does not describe its encoder, and the weights do not determine the heads of width {width}: "
            "pass a config of it (--config), or num_heads."
        )
    return _HEADS[width]
