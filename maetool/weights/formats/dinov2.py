"""DINOv2's giant models, whose hidden layers are gated: timm's model of the same design computes them.

Source of names: facebookresearch/dinov2, `dinov2/layers/swiglu_ffn.py`; transformers, `Dinov2SwiGLUFFN`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from maetool.errors import UsageError
from maetool.positions import grid_in_file

_GATED = re.compile(r"\.mlp\.(?:w12|weights_in)\.")
_OUT = re.compile(r"\.mlp\.(?:w3|weights_out)\.")


def is_gated_dinov2(weights: Mapping[str, Tensor]) -> bool:
    """Return whether weights under maetool's names are those of a DINOv2 with gated hidden layers."""
    return any(_GATED.search(name) for name in weights) and "encoder.pos_embed" in weights


def with_timms_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with the hidden layers under timm's names, where both halves of the first map are packed too."""
    return {_OUT.sub(".mlp.fc2.", _GATED.sub(".mlp.fc1.", name)): value for name, value in weights.items()}


def describe_dinov2(
    weights: Mapping[str, Tensor], source: str, grid: Sequence[int] | None = None, num_heads: int | None = None
) -> dict[str, Any]:
    """Return the config of the `TimmEncoder` that computes what a gated DINOv2 does.

    Args:
        weights: weights under maetool's names.
        source: their file, for messages.
        grid: patches along both axes, if known.
        num_heads: attention heads of a block; None: as wide as 64 channels, as in DINOv2.

    Raises:
        UsageError: positions whose grid is unknown.
    """
    renamed, registers = with_timms_names(weights), weights.get("encoder.reg_token")
    number = 0 if registers is None else registers.shape[1]
    kernel, hidden = renamed["encoder.patch_embed.proj.weight"], renamed["encoder.blocks.0.mlp.fc1.weight"]
    cells = grid_in_file(renamed["encoder.pos_embed"], 1, grid)
    if cells is None:
        raise UsageError(
            f"{source} has positions for no square of patches, and does not record the grid: pass the img_size that "
            "it was trained with."
        )
    width, channels, *patch = kernel.shape
    blocks = {match[1] for name in renamed if (match := re.match(r"encoder\.blocks\.(\d+)\.", name))}
    return {
        "type": "TimmEncoder",
        "name": "vit_giant_patch14_dinov2",
        "img_size": tuple(c * p for c, p in zip(cells, patch, strict=True)),
        "patch_size": tuple(patch),
        "in_chans": channels,
        "embed_dim": width,
        "depth": len(blocks),
        "num_heads": num_heads or width // 64,
        # timm rounds the product with the width down.
        "options": {"mlp_ratio": (len(hidden) + 0.5) / width, **({"reg_tokens": number} if number else {})},
    }
