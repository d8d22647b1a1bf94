"""Renames the published BEiT v2 tokenizers (VQ-KD, microsoft/unilm, `beit2/modeling_vqkd.py`)."""

import re

import torch
from torch import Tensor

from maetool.errors import UsageError

# Published names to maetool's. `fc_norm` normalises the patch tokens: the final norm of maetool's encoder.
_PREFIXES = {
    "encoder.fc_norm.": "encoder.norm.",
    "encoder.": "encoder.",
    "encode_task_layer.": "projection.",
    "quantize.embedding.weight": "codebook",
}


def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tokenizer's encoder, projection and codebook under maetool's names; decoder and teacher are dropped.

    Args:
        state: weights under the names of the published file.

    Raises:
        UsageError: it is not such a tokenizer.
    """
    if "quantize.embedding.weight" not in state or "encode_task_layer.2.weight" not in state:
        raise UsageError(
            f"This is not a VQ-KD tokenizer: of its {len(state)} tensors none is called quantize.embedding.weight or "
            "encode_task_layer.2.weight. Pass a file such as vqkd_encoder_base_decoder_3x768x12_clip.pth."
        )
    renamed = {}
    for name, value in state.items():
        new = next((new + name[len(old) :] for old, new in _PREFIXES.items() if name.startswith(old)), None)
        if new is not None and not new.endswith("_bias"):
            renamed[new] = value
    return renamed | {f"encoder.blocks.{i}.attn.qkv.bias": bias for i, bias in _biases(state).items()}


def to_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `state`, a tokenizer, under the published names: the inverse of `from_published`."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith("attn.qkv.bias"):
            q, _, v = value.chunk(3)
            renamed |= {name.replace("qkv.bias", "q_bias"): q, name.replace("qkv.bias", "v_bias"): v}
            continue
        old, new = next((old, new) for old, new in _PREFIXES.items() if name.startswith(new))
        renamed[old + name[len(new) :]] = value
    return renamed


def _biases(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the bias of each block's fused qkv layer; the published one has biases for queries and values only."""
    biases = {}
    for name, q in state.items():
        if match := re.fullmatch(r"encoder\.blocks\.(\d+)\.attn\.q_bias", name):
            v = state[name.replace("q_bias", "v_bias")]
            biases[match[1]] = torch.cat([q, torch.zeros_like(q), v])
    return biases
