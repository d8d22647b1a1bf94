"""DINOv3's checkpoints of its own code, of timm and of transformers, which timm's model of the same design computes.

Source of names and sizes: facebookresearch/dinov3, `dinov3/models/vision_transformer.py`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from maetool.errors import UsageError

_PERIODS, _OWN_REGISTERS, _REGISTERS = "encoder.rope_embed.periods", "encoder.storage_tokens", "encoder.reg_token"
# Attention heads by width, of the published models; only the angles in their own files determine them.
_HEADS = {384: 6, 768: 12, 1024: 16, 1280: 20, 4096: 32}
_BASE, _CELLS = 100.0, 14  # of the angles; patches a side of the images in training, where no grid is asked for
_NAMES = {
    r"^encoder\.storage_tokens$": "encoder.reg_token",
    r"\.ls([12])\.gamma$": r".gamma_\1",
    r"\.mlp\.w1\.": ".mlp.fc1_g.",
    r"\.mlp\.w2\.": ".mlp.fc1_x.",
    r"\.mlp\.w3\.": ".mlp.fc2.",
}
# Computed, for pretraining alone, or zero.
_WITHOUT = re.compile(r"encoder\.(rope_embed\.periods|mask_token|local_cls_norm\..*)|.*\.bias_mask")


def is_dinov3(weights: Mapping[str, Tensor]) -> bool:
    """Return whether weights under maetool's names are those of DINOv3: of its own code, of timm or of transformers."""
    if _OWN_REGISTERS in weights:
        return _PERIODS in weights
    first = {name.removeprefix("encoder.blocks.0.") for name in weights if name.startswith("encoder.blocks.0.")}
    has = {"encoder.cls_token", _REGISTERS} <= weights.keys() and {"gamma_1", "attn.qkv.weight"} <= first
    return has and "encoder.pos_embed" not in weights and not {"attn.qkv.bias", "attn.q_norm.weight"} & first


def describe_dinov3(
    weights: Mapping[str, Tensor], source: str, grid: Sequence[int] | None = None, num_heads: int | None = None
) -> dict[str, Any]:
    """Return the config of the `TimmEncoder` that computes what DINOv3 does.

    Args:
        weights: weights under maetool's names.
        source: their file, for messages.
        grid: patches along both axes; None, those of the training. The positions are rotary, so that any fits.
        num_heads: attention heads, where the file does not hold the angles, whose number determines them.

    Raises:
        UsageError: angles of another base than the published ones, or an unknown number of heads.
    """
    kernel, periods = weights["encoder.patch_embed.proj.weight"], weights.get(_PERIODS)
    width, channels, *patch = kernel.shape
    if periods is not None:
        _check_angles(periods.double(), source)
        num_heads = width // (4 * len(periods))
    num_heads = num_heads or _HEADS.get(width)
    if num_heads is None:
        raise UsageError(
            f"{source} does not describe its encoder, and the weights do not determine the heads of a DINOv3 of width "
            f"{width}: keep its config.json beside it, or pass num_heads (--num-heads)."
        )
    gated = weights.get("encoder.blocks.0.mlp.w1.weight", weights.get("encoder.blocks.0.mlp.fc1_g.weight"))
    has_bias = any(name.endswith(("q_bias", "qkv.bias")) for name in weights)
    registers = weights[_OWN_REGISTERS if _OWN_REGISTERS in weights else _REGISTERS]
    hidden = gated if gated is not None else weights["encoder.blocks.0.mlp.fc1.weight"]
    blocks = {int(match[1]) for name in weights if (match := re.match(r"encoder\.blocks\.(\d+)\.", name))}
    return {
        "type": "TimmEncoder",
        "name": f"vit_small_{'plus_' * (gated is not None)}patch16_dinov3{'_qkvb' * has_bias}",
        "img_size": tuple(c * p for c, p in zip(grid or (_CELLS, _CELLS), patch, strict=True)),
        "patch_size": tuple(patch),
        "in_chans": channels,
        "embed_dim": width,
        "depth": max(blocks) + 1,
        "num_heads": num_heads,
        "options": {"num_reg_tokens": registers.shape[1], "mlp_ratio": len(hidden) / width},
    }


def _check_angles(periods: Tensor, source: str) -> None:
    usual = _BASE ** (torch.arange(len(periods), dtype=torch.float64) / len(periods))
    # The file holds them in bfloat16.
    if not torch.allclose(periods, usual, rtol=0.01):
        raise UsageError(
            f"{source} turns its queries by other angles than DINOv3's published models (rope_embed.periods): pass a "
            "config of its encoder."
        )


def from_dinov3(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return DINOv3's weights under the names of timm's model, without the bias of keys, which is fixed at zero."""
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        if _WITHOUT.fullmatch(name):
            continue
        new = name
        for old, other in _NAMES.items():
            new = re.sub(old, other, new)
        if new.endswith("attn.qkv.bias"):
            queries, _, values = value.chunk(3)
            renamed |= {new.replace("qkv.bias", "q_bias"): queries, new.replace("qkv.bias", "v_bias"): values}
        else:
            renamed[new] = value
    return renamed
