"""What building an encoder without memory tells: its names, and whether a model of timm is a plain ViT."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from maetool.config.trust import build_trusted
from maetool.errors import UsageError
from maetool.ops.geometry import to_size
from maetool.registry import ENCODERS
from maetool.weights.formats.plain import in_names_of

# Modules of timm and torch that VisionTransformer has too, or that do nothing in evaluation.
_PLAIN = {
    *("VisionTransformer", "Block", "Attention", "Mlp", "PatchEmbed", "LayerScale", "LayerNorm", "GELU"),
    *("Linear", "Conv2d", "Sequential", "ModuleList", "Identity", "Dropout", "DropPath"),
}
_EPSILON = 1e-6  # of maetool's norms


def timm_section(
    model: Mapping[str, Any], img_size: Any, weights: Mapping[str, Tensor], source: Any
) -> tuple[dict[str, Any], int | None] | None:
    """Return the config of the `TimmEncoder` of a model, and its heads if a plain ViT computes the same.

    Args:
        model: `name` and further arguments of a `TimmEncoder`.
        img_size: (H, W), or one number; None is 224.
        weights: the tensors of the file, whose sizes bound those of the model.
        source: the file, for messages.

    Returns:
        None if `TimmEncoder` does not have such a model; the heads are None if it computes something else than
        `VisionTransformer`.
    """
    section = {"type": "TimmEncoder", "img_size": _divided(img_size or 224, weights), **model}
    try:
        with torch.device("meta"):
            vit = build_trusted(section, ENCODERS, weights, source).vit
    except (UsageError, TypeError):  # the file may be of any model, with arguments of another version of timm
        return None
    return section, vit.blocks[0].attn.num_heads if _is_plain(vit) else None


def _divided(img_size: Any, weights: Mapping[str, Tensor]) -> Any:
    """Return the size that the patches of some weights cover, as in timm: 378 of 384 pixels in patches of 14."""
    kernel = weights.get("encoder.patch_embed.proj.weight")
    if kernel is None or kernel.ndim != 4:
        return img_size
    return tuple(
        side // step * step for side, step in zip(to_size(img_size, "img_size"), kernel.shape[2:], strict=True)
    )


def _is_plain(vit: nn.Module) -> bool:
    return all(_is_usual(module) for module in vit.modules())


def _is_usual(module: nn.Module) -> bool:
    if isinstance(module, nn.LayerNorm) and module.eps != _EPSILON:
        return False
    exact = getattr(module, "approximate", "none") == "none"
    return type(module).__name__ in _PLAIN and exact


def in_names_of_encoder(
    section: Mapping[str, Any], weights: Mapping[str, Tensor], source: Any, is_users: bool
) -> dict[str, Tensor]:
    """Return weights under the names that the encoder of a config has; see `maetool.weights.formats.plain`.

    Args:
        section: the config of the encoder.
        weights: under maetool's names; their sizes bound those of the encoder.
        source: the file, for messages.
        is_users: the config is the user's own; one that follows from a file is built as `build_trusted` does.

    Raises:
        UsageError: the config cannot be built, or would become much larger than the weights.
    """
    with torch.device("meta"):
        encoder = ENCODERS.build(dict(section)) if is_users else build_trusted(dict(section), ENCODERS, weights, source)
    own = encoder.state_dict()
    return dict(in_names_of({f"encoder.{name}" for name in own}, weights))
