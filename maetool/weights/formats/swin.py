"""Renames Swin transformers to timm's names, which maetool's `SwinTransformer` has, and describes them.

The projects differ in names, in where the map between two stages belongs, and in the order in which it reads the
four neighbours: mmpretrain's `PatchMerging` unfolds channel by channel, the others neighbour by neighbour.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from math import isqrt
from typing import Any

from torch import Tensor

from maetool.errors import UsageError

from .key_map import KeyMap, fuse_qkv, split_qkv, with_aliases

State = Mapping[str, Tensor]
_TABLE = "attn.relative_position_bias_table"
_STAGES = range(6)
_COMPUTED = re.compile(r".*\.(relative_position_index|attn_mask)")  # buffers that follow from sizes
_KNOWN = re.compile(
    r"encoder\.(mask_token|patch_embed\.(proj|norm)\.(weight|bias)|norm\.(weight|bias)"
    r"|layers\.\d+\.(downsample\.(norm\.(weight|bias)|reduction\.weight)"
    rf"|blocks\.\d+\.((norm1|norm2|attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)\.(weight|bias)|{re.escape(_TABLE)})))"
)
_HEAD = re.compile(r"encoder\.(head|fc_norm)\..*")
_PLAIN_BLOCK = {name: name for name in ("norm1.{p}", "attn.qkv.{p}", "attn.proj.{p}", "norm2.{p}", _TABLE)}


def _names(
    fixed: Mapping[str, str],
    block: Mapping[str, str],
    stage: Callable[[int], str],
    merge: Callable[[int], str],
) -> KeyMap:
    """Return the names of a project, whose `stage` and `merge`, the map before a stage, have these prefixes."""
    rules = dict(fixed)
    for i in _STAGES:
        rules |= {f"{stage(i)}.{{i}}.{other}": f"encoder.layers.{i}.blocks.{{i}}.{own}" for other, own in block.items()}
        rules |= {f"{merge(i)}.{{rest}}": f"encoder.layers.{i}.downsample.{{rest}}"} if i else {}
    return KeyMap(rules)


_TORCHVISION = _names(
    {
        "features.0.0.{p}": "encoder.patch_embed.proj.{p}",
        "features.0.2.{p}": "encoder.patch_embed.norm.{p}",
        "norm.{p}": "encoder.norm.{p}",
        "head.{p}": "head.{p}",
    },
    _PLAIN_BLOCK | {"mlp.0.{p}": "mlp.fc1.{p}", "mlp.3.{p}": "mlp.fc2.{p}"},
    lambda i: f"features.{2 * i + 1}",
    lambda i: f"features.{2 * i}",
)
_TRANSFORMERS = _names(
    {
        "swin.embeddings.patch_embeddings.projection.{p}": "encoder.patch_embed.proj.{p}",
        "swin.embeddings.norm.{p}": "encoder.patch_embed.norm.{p}",
        "swin.embeddings.mask_token": "encoder.mask_token",
        "swin.layernorm.{p}": "encoder.norm.{p}",
        "classifier.{p}": "head.{p}",
        "decoder.0.{p}": "decoder.pred.{p}",
    },
    {
        "layernorm_before.{p}": "norm1.{p}",
        **{f"attention.self.{word}.{{p}}": f"attn.{word[0]}.{{p}}" for word in ("query", "key", "value")},
        "attention.self.relative_position_bias_table": _TABLE,
        "attention.output.dense.{p}": "attn.proj.{p}",
        "layernorm_after.{p}": "norm2.{p}",
        "intermediate.dense.{p}": "mlp.fc1.{p}",
        "output.dense.{p}": "mlp.fc2.{p}",
    },
    lambda i: f"swin.encoder.layers.{i}.blocks",
    lambda i: f"swin.encoder.layers.{i - 1}.downsample",
)
_ALIASES = {
    r"^(embeddings|encoder|layernorm)\.": r"swin.\1.",  # a bare encoder
    # modules of transformers 5, whose files keep the names above
    r"\.attention\.q_proj\.": ".attention.self.query.",
    r"\.attention\.k_proj\.": ".attention.self.key.",
    r"\.attention\.v_proj\.": ".attention.self.value.",
    r"\.attention\.o_proj\.": ".attention.output.dense.",
    r"\.attention\.relative_position_bias\.": ".attention.self.",
    r"\.mlp\.fc1\.": ".intermediate.dense.",
    r"\.mlp\.fc2\.": ".output.dense.",
}
_MMPRETRAIN = _names(
    {
        "backbone.patch_embed.projection.{p}": "encoder.patch_embed.proj.{p}",
        "backbone.patch_embed.norm.{p}": "encoder.patch_embed.norm.{p}",
        "backbone.mask_token": "encoder.mask_token",
        "backbone.norm3.{p}": "encoder.norm.{p}",
        "head.fc.{p}": "head.{p}",
    },
    {
        "norm1.{p}": "norm1.{p}",
        "attn.w_msa.qkv.{p}": "attn.qkv.{p}",
        "attn.w_msa.proj.{p}": "attn.proj.{p}",
        "attn.w_msa.relative_position_bias_table": _TABLE,
        "norm2.{p}": "norm2.{p}",
        "ffn.layers.0.0.{p}": "mlp.fc1.{p}",
        "ffn.layers.1.{p}": "mlp.fc2.{p}",
    },
    lambda i: f"backbone.stages.{i}.blocks",
    lambda i: f"backbone.stages.{i - 1}.downsample",
)
# microsoft/Swin-Transformer and microsoft/SimMIM, whose pretraining has this prefix.
_MICROSOFT = _names(
    {
        **{name: name for name in ("encoder.patch_embed.{rest}", "encoder.norm.{p}", "encoder.mask_token")},
        "decoder.0.{p}": "decoder.pred.{p}",
        "head.{p}": "head.{p}",
    },
    _PLAIN_BLOCK | {f"mlp.fc{i}.{{p}}": f"mlp.fc{i}.{{p}}" for i in (1, 2)},
    lambda i: f"encoder.layers.{i}.blocks",
    lambda i: f"encoder.layers.{i - 1}.downsample",
)


def _weights(state: State) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not _COMPUTED.fullmatch(name)}


def from_torchvision(state: State) -> dict[str, Tensor]:
    """Return `state`, torchvision's `SwinTransformer`, under maetool's names."""
    return _TORCHVISION.to_ours(_weights(state))


def to_torchvision(state: State) -> dict[str, Tensor]:
    """Return `state`, a Swin, under torchvision's names, without what it computes: `from_torchvision` undone."""
    return _TORCHVISION.to_theirs(state)


def is_torchvision(state: State) -> bool:
    """Return whether the names of `state` are those of torchvision's `SwinTransformer`."""
    return f"features.1.0.{_TABLE}" in state


def from_transformers(state: State) -> dict[str, Tensor]:
    """Return `state`, transformers' Swin, alone, with a classifier or in SimMIM, under maetool's names."""
    renamed = fuse_qkv(_TRANSFORMERS.to_ours(with_aliases(_weights(state), _ALIASES)))
    return with_aliases(renamed, {r"^swin\.(?:encoder\.)?": "encoder."})  # what maetool's has no place for


def to_transformers(state: State) -> dict[str, Tensor]:
    """Return `state`, a Swin, under transformers' names: `from_transformers` undone."""
    return _TRANSFORMERS.to_theirs(split_qkv(state))


def is_transformers(state: State) -> bool:
    """Return whether the names of `state` are those of transformers' Swin, bare or not."""
    return any(name.removeprefix("swin.").startswith("encoder.layers.0.blocks.0.attention.") for name in state)


def from_mmpretrain(state: State) -> dict[str, Tensor]:
    """Return `state`, mmpretrain's `SwinTransformer`, alone, in a classifier or in SimMIM, under maetool's names."""
    bare = {r"^(patch_embed|stages|norm\d|mask_token|absolute_pos_embed)\b": r"backbone.\1"}
    last = {rf"^backbone\.norm{_last(state, 'stages')}\.": "backbone.norm3."}  # of fewer stages than four
    renamed = _MMPRETRAIN.to_ours(with_aliases(_weights(state), bare | last))
    return _merged(with_aliases(renamed, {r"^backbone\.": "encoder."}), _by_neighbour)


def to_mmpretrain(state: State) -> dict[str, Tensor]:
    """Return `state`, a Swin, under mmpretrain's names: `from_mmpretrain` undone."""
    last = {r"^backbone\.norm3\.": f"backbone.norm{_last(state, 'layers')}."}
    return with_aliases(_MMPRETRAIN.to_theirs(_merged(state, _by_channel)), last)


def _last(state: State, stages: str) -> int:
    return max((int(match[1]) for name in state if (match := re.search(rf"\b{stages}\.(\d+)\.", name))), default=0)


def is_mmpretrain(state: State) -> bool:
    """Return whether the names of `state` are those of mmpretrain's `SwinTransformer`."""
    return any(name.removeprefix("backbone.") == "stages.0.blocks.0.attn.w_msa.qkv.weight" for name in state)


def from_microsoft(state: State) -> dict[str, Tensor]:
    """Return `state`, the Swin of microsoft's own code, or a SimMIM with it, under maetool's names."""
    bare = {r"^(patch_embed|layers|norm|mask_token|absolute_pos_embed)\b": r"encoder.\1"}
    return _MICROSOFT.to_ours(with_aliases(_weights(state), bare))


def to_microsoft(state: State) -> dict[str, Tensor]:
    """Return `state`, a Swin, under the names of microsoft/SimMIM: `from_microsoft` undone."""
    return _MICROSOFT.to_theirs(state)


def is_microsoft(state: State) -> bool:
    """Return whether `state` is a Swin in whose names a map belongs to the stage before it, as in microsoft's code."""
    stage = ("downsample.reduction.weight", "blocks.0.attn.qkv.weight")
    return any(all(f"{prefix}layers.0.{name}" in state for name in stage) for prefix in ("", "encoder."))


def _merged(state: State, order: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Return weights with the inputs of the maps between stages in another order."""
    return {
        name: order(value) if re.search(r"\.downsample\.(norm|reduction)\.", name) else value
        for name, value in state.items()
    }


def _by_neighbour(value: Tensor) -> Tensor:
    """Return (..., 4C) in the order of columns, rows and channels, from that of channels, rows and columns."""
    return value.unflatten(-1, (-1, 2, 2)).movedim(-3, -1).transpose(-3, -2).flatten(-3)


def _by_channel(value: Tensor) -> Tensor:
    return value.unflatten(-1, (2, 2, -1)).transpose(-3, -2).movedim(-1, -3).flatten(-3)


def is_swin(weights: State) -> bool:
    """Return whether weights under maetool's names are those of a Swin."""
    return any(name.startswith("encoder.layers.0.blocks.0.") for name in weights)


def describe_swin(
    weights: State, source: str, grid: Sequence[int] | None = None, num_heads: int | None = None
) -> dict[str, Any]:
    """Return the config of the `SwinTransformer` with these weights.

    Args:
        weights: weights under maetool's names.
        source: their file, for messages.
        grid: patches along both axes; None: that of images with one window in the last stage, as all published have.
        num_heads: not read; the tables of positions have a column for each head.

    Raises:
        UsageError: it has what Swin has not, such as the scaled attention of Swin V2.
    """
    strange = [
        name
        for name in weights
        if name.startswith("encoder.") and not (_KNOWN.fullmatch(name) or _HEAD.fullmatch(name))
    ]
    if strange:
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        raise UsageError(
            f"{source} holds a Swin with more than SwinTransformer has ({', '.join(strange[:3])}{more}): only the "
            "first version of Swin with relative positions can be loaded."
        )
    kernel = weights["encoder.patch_embed.proj.weight"]
    tables = [weights[f"encoder.layers.{i}.blocks.0.{_TABLE}"] for i in range(_count(weights, r"layers\.(\d+)"))]
    width, channels, *patch = kernel.shape
    windows = [(isqrt(len(table)) + 1) // 2 for table in tables]
    sides = [window * 2**stage for stage, window in enumerate(windows)]
    clipped = [side for side, window in zip(sides, windows, strict=True) if window < windows[0]]
    grid = grid or (2 * [clipped[0] if clipped else sides[-1]])
    return {
        "type": "SwinTransformer",
        "img_size": tuple(cells * pixels for cells, pixels in zip(grid, patch, strict=True)),
        "patch_size": tuple(patch),
        "in_chans": channels,
        "embed_dim": width,
        "depths": [_count(weights, rf"layers\.{i}\.blocks\.(\d+)") for i in range(len(tables))],
        "num_heads": [table.shape[1] for table in tables],
        "window_size": windows[0],
        "mlp_ratio": len(weights["encoder.layers.0.blocks.0.mlp.fc1.weight"]) / width,
    }


def _count(weights: State, pattern: str) -> int:
    return len({match[1] for name in weights if (match := re.match(rf"encoder\.{pattern}\.", name))})


def shifts_otherwise(section: Mapping[str, Any]) -> bool:
    """Return whether transformers shifts the windows of a Swin otherwise, because its images are no squares.

    There the windows of a stage are shifted along both axes or none, here, in timm and in torchvision along each axis
    that is longer than a window.

    Args:
        section: the config of the encoder, with `img_size` and `patch_size` as pairs.
    """
    cells = [side // step for side, step in zip(section["img_size"], section["patch_size"], strict=True)]
    stages = [[-(-side // 2**stage) for side in cells] for stage in range(len(section["depths"]))]
    return any(min(sides) <= section["window_size"] < max(sides) for sides in stages)
