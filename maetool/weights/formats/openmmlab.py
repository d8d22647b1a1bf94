"""Renames checkpoints of mmpretrain (and ColorMAE, built on it), mmsegmentation and mmdetection."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from maetool.errors import UsageError

from .key_map import KeyMap, with_aliases
from .positions import with_fixed

_BLOCK = {
    "ln1.{p}": "norm1.{p}",
    "attn.qkv.{p}": "attn.qkv.{p}",
    "attn.proj.{p}": "attn.proj.{p}",
    "ln2.{p}": "norm2.{p}",
    "ffn.layers.0.0.{p}": "mlp.fc1.{p}",
    "ffn.layers.1.{p}": "mlp.fc2.{p}",
}
# mmsegmentation's VisionTransformer holds torch's MultiheadAttention.
_TORCH_BLOCK = {
    name.replace("attn.qkv.", "attn.attn.in_proj_").replace("attn.proj.", "attn.attn.out_proj."): own
    for name, own in _BLOCK.items()
}
_VITDET_NAMES = KeyMap({"{rest}": "encoder.{rest}"})
_DETECTOR_NAMES = KeyMap({"backbone.{rest}": "encoder.{rest}"})


def _encoder(prefix: str, block: Mapping[str, str]) -> dict[str, str]:
    return {
        f"{prefix}cls_token": "encoder.cls_token",
        f"{prefix}mask_token": "encoder.mask_token",
        f"{prefix}pos_embed": "encoder.pos_embed",
        f"{prefix}patch_embed.projection.{{p}}": "encoder.patch_embed.proj.{p}",
        **{f"{prefix}layers.{{i}}.{other}": f"encoder.blocks.{{i}}.{own}" for other, own in block.items()},
        f"{prefix}ln1.{{p}}": "encoder.norm.{p}",
    }


_MMPRETRAIN_NAMES = KeyMap(
    {
        **_encoder("backbone.", _BLOCK),
        "backbone.ln2.{p}": "fc_norm.{p}",
        "neck.mask_token": "decoder.mask_token",
        "neck.decoder_pos_embed": "decoder.pos_embed",
        "neck.decoder_embed.{p}": "decoder.embed.{p}",
        **{f"neck.decoder_blocks.{{i}}.{other}": f"decoder.blocks.{{i}}.{own}" for other, own in _BLOCK.items()},
        "neck.ln1.{p}": "decoder.norm.{p}",
        "neck.decoder_pred.{p}": "decoder.pred.{p}",
        "head.fc.{p}": "head.{p}",
    }
)
_MMSEG_NAMES = KeyMap(_encoder("", _TORCH_BLOCK))
_MMSEG_MAE_NAMES = KeyMap(_encoder("", _BLOCK))


def from_mmpretrain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of mmpretrain's MAE or ViT classifier, or of its backbone, under maetool's names.

    mmpretrain's fixed positions encode the row first, maetool's the column; its tables are kept unchanged.
    """
    bare = {r"^(cls_token|mask_token|pos_embed|patch_embed\.|rel_pos_bias\.|layers\.|ln1\.|ln2\.)": r"backbone.\1"}
    renamed = _MMPRETRAIN_NAMES.to_ours(with_aliases(state, bare | {r"^head\.layers\.head\.": "head.fc."}))
    beside = {r"^backbone\.layers\.": "encoder.blocks.", r"^backbone\.rel_pos_bias\.": "encoder.rel_pos_bias."}
    return with_aliases(renamed, beside)  # such as layer scale, and the relative positions of BEiT


def to_mmpretrain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `state`, of a `MaskedImageModel` or `ImageClassifier`, under mmpretrain's names; see `from_mmpretrain`."""
    return _MMPRETRAIN_NAMES.to_theirs(with_fixed(state))


def is_mmpretrain(state: Mapping[str, Tensor]) -> bool:
    """Return whether the names of `state` are those of mmpretrain's plain ViT."""
    return _has(state, "layers.0.attn.qkv.weight") and not is_mmseg_mae(state)


def from_mmseg(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `state`, mmsegmentation's `VisionTransformer`, alone or in a segmentor, under maetool's names."""
    renamed = _MMSEG_NAMES.to_ours(with_aliases(state, {r"^backbone\.": ""}))
    return with_aliases(renamed, {r"^layers\.": "encoder.blocks."})


def to_mmseg(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder in `state` as mmsegmentation's `VisionTransformer` loads it: `from_mmseg` undone."""
    return _MMSEG_NAMES.to_theirs(state)


def is_mmseg(state: Mapping[str, Tensor]) -> bool:
    """Return whether the names of `state` are those of mmsegmentation's `VisionTransformer`."""
    return _has(state, "layers.0.attn.attn.in_proj_weight")


def from_mmseg_mae(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return mmsegmentation's `MAE` backbone, alone or in a segmentor, under maetool's names.

    Its layer scales `gamma_1` and `gamma_2` are multiplied into the preceding linear layers.

    Args:
        state: weights under mmsegmentation's names.

    Raises:
        UsageError: it has learned relative positions, for which a plain ViT has no place.
    """
    state = with_aliases(state, {r"^backbone\.": ""})
    used = [name for name, value in state.items() if name.endswith("position_bias_table") and value.count_nonzero()]
    if used:
        raise UsageError(
            f"The backbone has learned relative positions ({used[0]} and {len(used) - 1} more), for which a plain ViT "
            "has no place: convert its initial checkpoint instead."
        )
    plain = {name: value for name, value in state.items() if not re.search(r"gamma_[12]$|relative_position", name)}
    for name, gamma in state.items():
        for suffix, inner in (("gamma_1", "attn.proj"), ("gamma_2", "ffn.layers.1")):
            if name.endswith(suffix):
                key = name.removesuffix(suffix) + inner
                plain[f"{key}.weight"] = plain[f"{key}.weight"] * gamma[:, None]
                plain[f"{key}.bias"] = plain[f"{key}.bias"] * gamma
    return _MMSEG_MAE_NAMES.to_ours(plain)


def to_mmseg_mae(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder as mmsegmentation's `MAE` backbone loads it by `init_cfg`: the inverse of `from_mmseg_mae`.

    The layer scales, whose initial value in its config is 0.1 or 1, are set to 1, so that features are equal.

    Args:
        state: weights of a model or encoder under maetool's names.
    """
    named = _MMSEG_MAE_NAMES.to_theirs(state)
    blocks = [name.removesuffix("ln1.bias") for name in named if re.fullmatch(r"layers\.\d+\.ln1\.bias", name)]
    ones = {f"{block}gamma_{i}": torch.ones_like(named[f"{block}ln1.bias"]) for block in blocks for i in (1, 2)}
    return named | ones


def is_mmseg_mae(state: Mapping[str, Tensor]) -> bool:
    """Return whether the names of `state` are those of mmsegmentation's `MAE` backbone, and not of BEiT."""
    return _has(state, "layers.0.gamma_1") and not _has(state, "layers.0.attn.q_bias")


def from_mmdet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the backbone of mmdetection's ViTDet project, alone or in a detector, under maetool's names.

    Heads keep their names. A trained backbone has no class token and no final norm; relative positions are unused.

    Args:
        state: weights under the names of the project.
    """
    inside = any(name.startswith("backbone.") for name in state)
    return (_DETECTOR_NAMES if inside else _VITDET_NAMES).to_ours(state)


def to_mmdet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder as the backbone of mmdetection's ViTDet project loads it by `init_cfg`: `from_mmdet` undone.

    The names are timm's. The position table keeps the class token's row, which ViTDet expects and ignores.

    Args:
        state: weights of a model or encoder under maetool's names.
    """
    return _VITDET_NAMES.to_theirs(state)


def is_mmdet(state: Mapping[str, Tensor]) -> bool:
    """Return whether the names of `state` are those of a detector with a plain ViT in timm's names as backbone."""
    return "backbone.blocks.0.attn.qkv.weight" in state


def _has(state: Mapping[str, Tensor], name: str) -> bool:
    return name in state or f"backbone.{name}" in state
