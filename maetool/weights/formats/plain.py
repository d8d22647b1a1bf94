"""Renames what other projects add to a plain ViT, so that it has the names of maetool's `VisionTransformer`."""

from collections.abc import Collection, Mapping

from torch import Tensor

from . import beit
from .dinov2 import is_gated_dinov2, with_timms_names
from .dinov3 import from_dinov3, is_dinov3
from .key_map import fuse_qkv, with_aliases

_ALIASES = {
    # facebookresearch/dinov2: registers, and blocks in chunks for FSDP, which are numbered through
    r"^encoder\.register_tokens$": "encoder.reg_token",
    r"^encoder\.blocks\.\d+\.(\d+)\.": r"encoder.blocks.\1.",
    # DeiT's token for distillation, which enters as a register does: timm and facebookresearch/deit; transformers
    r"^encoder\.(dist_token|distillation_token)$": "encoder.reg_token",
    # layer scale: BEiT and DeiT III in their own code; mmpretrain; transformers' BEiT and Dinov2
    r"^(encoder\.blocks\.\d+\.)(?:gamma|lambda)_([12])$": r"\1ls\2.gamma",
    r"^(encoder\.blocks\.\d+\.)gamma([12])\.weight$": r"\1ls\2.gamma",
    r"^(encoder\.blocks\.\d+\.)layer_scale([12])\.lambda1$": r"\1ls\2.gamma",
    # maps of queries, keys and values apart
    r"^(encoder\.blocks\.\d+\.attn\.)([qkv])_proj\.": r"\1\2.",
}


def as_plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under maetool's names with those of `VisionTransformer` for registers, layer scale and attention.

    Raises:
        UsageError: maps of queries without those of keys and values.
    """
    return fuse_qkv(with_aliases(weights, _ALIASES))


def in_names_of(own: Collection[str], weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights under the names of a model: as they are, `as_plain`, or as timm's BEiT and EVA name them.

    An encoder of timm may have the other project's names itself, so those are chosen of which the model knows most.

    Args:
        own: names of the model's state dict.
        weights: under maetool's names.
    """
    if is_dinov3(weights) and not any("rope_embed" in name for name in own):
        return from_dinov3(weights)
    plain = as_plain(weights)
    plain = with_timms_names(plain) if is_gated_dinov2(plain) else plain
    namings: list[Mapping[str, Tensor]] = [weights, plain, beit.from_plain(plain)]
    return max(namings, key=lambda naming: sum(name in own for name in naming))  # of equal ones the first
