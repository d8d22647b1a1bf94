"""Renames the vision towers of Hugging Face's CLIP and SigLIP to timm's names, and describes them.

They are ViTs with other activations than the exact GELU, so that timm's models compute them. CLIP's has a norm before
the blocks and no bias of the patch embedding; SigLIP's has no class token.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from maetool.errors import UsageError
from maetool.positions import grid_in_file

from .key_map import KeyMap, fuse_qkv, split_qkv, with_aliases

_BLOCK = {
    "layer_norm1.{p}": "norm1.{p}",
    **{f"self_attn.{which}_proj.{{p}}": f"attn.{which}.{{p}}" for which in "qkv"},
    "self_attn.out_proj.{p}": "attn.proj.{p}",
    "layer_norm2.{p}": "norm2.{p}",
    "mlp.fc1.{p}": "mlp.fc1.{p}",
    "mlp.fc2.{p}": "mlp.fc2.{p}",
}
_LAYER = "vision_model.encoder.layers.{i}"
_NAMES = KeyMap(
    {
        "vision_model.embeddings.class_embedding": "encoder.cls_token",
        "vision_model.embeddings.position_embedding.weight": "encoder.pos_embed",
        "vision_model.embeddings.patch_embedding.{p}": "encoder.patch_embed.proj.{p}",
        "vision_model.pre_layrnorm.{p}": "encoder.norm_pre.{p}",
        **{
            f"vision_model.encoder.layers.{{i}}.{there}": f"encoder.blocks.{{i}}.{own}" for there, own in _BLOCK.items()
        },
        "vision_model.post_layernorm.{p}": "encoder.norm.{p}",
        "vision_model.head.{rest}": "pooler.{rest}",  # SigLIP's pooling by attention, which encoders do not have
        "vision_model.{rest}": "encoder.{rest}",  # what is left has no place, and is refused by its name
    }
)
_BARE = {r"^(embeddings|encoder|pre_layrnorm|post_layernorm|head)\.": r"vision_model.\1."}
_PATCHES, _TABLE = "embeddings.patch_embedding.weight", "embeddings.position_embedding.weight"
_PLACES = ("encoder.cls_token", "encoder.pos_embed")  # (D,) and (T + L, D) there
# Names of activations in transformers to those in timm.
_ACTIVATIONS = {
    **dict.fromkeys(("gelu", "gelu_python"), "gelu"),
    **dict.fromkeys(("gelu_pytorch_tanh", "gelu_new"), "gelu_tanh"),
    "quick_gelu": "quick_gelu",
}
_HEADS = {384: 6, 512: 8, 768: 12, 1024: 16, 1152: 16, 1280: 16, 1408: 16, 1664: 16}  # of the published models


def is_transformers_clip(state: Mapping[str, Tensor]) -> bool:
    """Return whether the names of `state` are those of a vision tower of CLIP or SigLIP, alone or beside the text's."""
    for prefix in ("", "vision_model."):
        kernel = state.get(prefix + _PATCHES)
        if prefix + _TABLE in state and kernel is not None and kernel.ndim == 4:
            return True
    return False


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the vision tower in `state` under maetool's names; what lies beside it keeps its names."""
    bare = {} if f"vision_model.{_PATCHES}" in state else _BARE
    tower = {name: value for name, value in state.items() if not name.endswith(".position_ids")}  # 0, 1, 2, ...
    renamed = fuse_qkv(_NAMES.to_ours(with_aliases(tower, bare)))
    return {name: _with_axes(value) if name in _PLACES else value for name, value in renamed.items()}


def _with_axes(value: Tensor) -> Tensor:
    return value.view(*(1,) * (3 - value.ndim), *value.shape)


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the vision tower in `state` under transformers' names: `from_transformers` undone."""
    flat = {name: value.flatten(0, -2) if name in _PLACES else value for name, value in state.items()}
    there = _NAMES.to_theirs(split_qkv(flat))
    name = "vision_model.embeddings.class_embedding"
    return there | ({name: there[name].flatten()} if name in there else {})


def describe_tower(
    weights: Mapping[str, Tensor],
    source: str,
    activation: str | None = None,
    grid: Sequence[int] | None = None,
    num_heads: int | None = None,
) -> dict[str, Any]:
    """Return the config of the `TimmEncoder` that computes the tokens of a vision tower, normalised by its last norm.

    Args:
        weights: weights under maetool's names.
        source: their file, for messages.
        activation: its name in transformers; None is the usual one, CLIP's quick GELU or SigLIP's tanh.
        grid: patches along both axes, if known.
        num_heads: attention heads of a block; None: those of the published model of this width.

    Raises:
        UsageError: another activation, an unknown number of heads, or positions whose grid is unknown.
    """
    kernel, is_clip = weights["encoder.patch_embed.proj.weight"], "encoder.norm_pre.weight" in weights
    width, channels, *patch = kernel.shape
    activation = activation or ("quick_gelu" if is_clip else "gelu_pytorch_tanh")
    num_heads = num_heads or _HEADS.get(width)
    cells = grid_in_file(weights["encoder.pos_embed"], int("encoder.cls_token" in weights), grid)
    if activation not in _ACTIVATIONS or num_heads is None or cells is None:
        raise UsageError(
            f"{source} holds a vision tower that cannot be built, with the activation {activation!r}, "
            f"{num_heads or 'an unknown number of'} heads and positions for {cells or 'no square of patches'}: keep "
            "its config.json beside it, or pass a config of its encoder."
        )
    blocks = {match[1] for name in weights if (match := re.match(r"encoder\.blocks\.(\d+)\.", name))}
    return {
        "type": "TimmEncoder",
        "name": f"vit_base_patch16_{'clip' if is_clip else 'siglip'}_224",
        "img_size": tuple(c * p for c, p in zip(cells, patch, strict=True)),
        "patch_size": tuple(patch),
        "in_chans": channels,
        "embed_dim": width,
        "depth": len(blocks),
        "num_heads": num_heads,
        "final_norm": "encoder.norm.weight" in weights,
        "options": {
            "act_layer": _ACTIVATIONS[activation],
            "mlp_ratio": len(weights["encoder.blocks.0.mlp.fc1.weight"]) / width,
        },
    }
