"""DINOv3's own checkpoints, which timm's model of the same design reads under other names.

Source of names and sizes: facebookresearch/dinov3, `dinov3/models/vision_transformer.py`.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from maetool.errors import UsageError

_PERIODS, _REGISTERS = "encoder.rope_embed.periods", "encoder.storage_tokens"
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
    """Return whether weights under maetool's names are those of DINOv3's own code."""
    return _PERIODS in weights and _REGISTERS in weights


def describe_dinov3(weights: Mapping[str, Tensor], source: str, grid: tuple[int, ...] | None = None) -> dict[str, Any]:
    """Return the config of the `TimmEncoder` that computes what DINOv3 does.

    Args:
        weights: weights under maetool's names.
        source: their file, for messages.
        grid: patches along both axes; None, those of the training. The positions are rotary, so that any fits.

    Raises:
        UsageError: angles of another base than the published ones.
    """
    kernel, periods = weights["encoder.patch_embed.proj.weight"], weights[_PERIODS].double()
    width, channels, *patch = kernel.shape
    usual = _BASE ** (torch.arange(len(periods), dtype=torch.float64) / len(periods))
    # The file holds them in bfloat16.
    if not torch.allclose(periods, usual, rtol=0.01):
        raise UsageError(
            f"{source} turns its queries by other angles than DINOv3's published models (rope_embed.periods): pass a "
            "config of its encoder."
        )
    gated = weights.get("encoder.blocks.0.mlp.w1.weight")
    hidden = gated if gated is not None else weights["encoder.blocks.0.mlp.fc1.weight"]
    blocks = {int(match[1]) for name in weights if (match := re.match(r"encoder\.blocks\.(\d+)\.", name))}
    return {
        "type": "TimmEncoder",
        "name": f"vit_small_{'plus_' * (gated is not None)}patch16_dinov3_qkvb",
        "img_size": tuple(c * p for c, p in zip(grid or (_CELLS, _CELLS), patch, strict=True)),
        "patch_size": tuple(patch),
        "in_chans": channels,
        "embed_dim": width,
        "depth": max(blocks) + 1,
        "num_heads": width // (4 * len(periods)),
        "options": {"num_reg_tokens": weights[_REGISTERS].shape[1], "mlp_ratio": len(hidden) / width},
    }


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
