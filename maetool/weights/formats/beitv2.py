"""Names of the published BEiT v2 tokenizers (VQ-KD, microsoft/unilm, `beit2/modeling_vqkd.py`) and ours."""

import re

import torch
from torch import Tensor

from maetool.errors import UsageError

# Theirs to ours. Their encoder normalises the patch tokens by `fc_norm`, which is our encoder's final norm.
_PREFIXES = {
    "encoder.fc_norm.": "encoder.norm.",
    "encoder.": "encoder.",
    "encode_task_layer.": "projection.",
    "quantize.embedding.weight": "codebook",
}


def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tokenizer's encoder, projection and codebook under our names; what decodes or teaches is left out.

    Raises:
        UsageError: it is no such tokenizer.
    """
    if "quantize.embedding.weight" not in state or "encode_task_layer.2.weight" not in state:
        raise UsageError(
            f"This is no VQ-KD tokenizer: of its {len(state)} tensors none is called quantize.embedding.weight or "
            "encode_task_layer.2.weight. Pass a file such as vqkd_encoder_base_decoder_3x768x12_clip.pth."
        )
    found = {}
    for name, value in state.items():
        new = next((new + name[len(old) :] for old, new in _PREFIXES.items() if name.startswith(old)), None)
        if new is not None and not new.endswith("_bias"):
            found[new] = value
    return found | {f"encoder.blocks.{i}.attn.qkv.bias": bias for i, bias in _biases(state).items()}


def to_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a tokenizer under the published names: the inverse of `from_published`."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith("attn.qkv.bias"):
            q, _, v = value.chunk(3)
            found |= {name.replace("qkv.bias", "q_bias"): q, name.replace("qkv.bias", "v_bias"): v}
            continue
        old, new = next((old, new) for old, new in _PREFIXES.items() if name.startswith(new))
        found[old + name[len(new) :]] = value
    return found


def _biases(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the bias of the fused map of each block: theirs has one for queries and values, and none for keys."""
    biases = {}
    for name, q in state.items():
        if match := re.fullmatch(r"encoder\.blocks\.(\d+)\.attn\.q_bias", name):
            v = state[name.replace("q_bias", "v_bias")]
            biases[match[1]] = torch.cat([q, torch.zeros_like(q), v])
    return biases
