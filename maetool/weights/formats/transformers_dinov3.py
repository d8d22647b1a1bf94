"""Renames Hugging Face's `DINOv3ViTModel` to the names of timm's model of the same design."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from .key_map import KeyMap, fuse_qkv, split_qkv, with_aliases

_BLOCK = {
    "norm1.{p}": "norm1.{p}",
    **{f"attention.{which}_proj.{{p}}": f"attn.{which}.{{p}}" for which in "qkv"},
    "attention.o_proj.{p}": "attn.proj.{p}",
    "layer_scale1.lambda1": "gamma_1",
    "norm2.{p}": "norm2.{p}",
    "mlp.gate_proj.{p}": "mlp.fc1_g.{p}",
    "mlp.up_proj.{p}": "mlp.fc1.{p}",
    "mlp.up_proj_of_gated.{p}": "mlp.fc1_x.{p}",
    "mlp.down_proj.{p}": "mlp.fc2.{p}",
    "layer_scale2.lambda1": "gamma_2",
}
_NAMES = KeyMap(
    {
        "embeddings.cls_token": "encoder.cls_token",
        "embeddings.mask_token": "encoder.mask_token",
        "embeddings.register_tokens": "encoder.reg_token",
        "embeddings.patch_embeddings.{p}": "encoder.patch_embed.proj.{p}",
        **{f"layer.{{i}}.{other}": f"encoder.blocks.{{i}}.{own}" for other, own in _BLOCK.items()},
        "norm.{p}": "encoder.norm.{p}",
    }
)
_UP, _UP_OF_GATED = ".mlp.up_proj.", ".mlp.up_proj_of_gated."


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `state`, transformers' `DINOv3ViTModel`, under maetool's names.

    Keys have no bias there. Where they have, it stays with those of queries and values, which timm's model lacks.
    """
    gated = any(".mlp.gate_proj." in name for name in state)
    aliases = {r"^model\.layer\.": "layer."} | ({re.escape(_UP): _UP_OF_GATED} if gated else {})
    named = fuse_qkv(_NAMES.to_ours(with_aliases(state, aliases)))
    renamed: dict[str, Tensor] = {}
    for name, value in named.items():
        if name.endswith("attn.qkv.bias") and not value.chunk(3)[1].count_nonzero():
            queries, _, values = value.chunk(3)
            renamed |= {name.replace("qkv.bias", "q_bias"): queries, name.replace("qkv.bias", "v_bias"): values}
        else:
            renamed[name] = value
    return renamed


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `state`, the weights of timm's DINOv3, under transformers' names: `from_transformers` undone."""
    fused: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith("attn.q_bias"):
            values = state[name.replace("q_bias", "v_bias")]
            fused[name.replace("q_bias", "qkv.bias")] = torch.cat([value, torch.zeros_like(value), values])
        elif not name.endswith("attn.v_bias"):
            fused[name] = value
    named = _NAMES.to_theirs(split_qkv(fused))
    without_keys = {name: value for name, value in named.items() if not name.endswith(".k_proj.bias")}
    return with_aliases(without_keys, {re.escape(_UP_OF_GATED): _UP})


def is_transformers_dinov3(state: Mapping[str, Tensor]) -> bool:
    """Return whether the names of `state` are those of transformers' `DINOv3ViTModel`."""
    return "embeddings.register_tokens" in state and "embeddings.patch_embeddings.weight" in state
