"""Renames timm's `VisionTransformer`: the encoder's names are maetool's without their prefix."""

from collections.abc import Mapping

from torch import Tensor

from .key_map import KeyMap
from .mae import from_published

_NAMES = KeyMap({name: name for name in ("fc_norm.{p}", "head.{p}")} | {"{rest}": "encoder.{rest}"})


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder and classifier head in `state` under timm's names, which have no decoder and no mask token."""
    return _NAMES.to_theirs({name: value for name, value in state.items() if name != "encoder.mask_token"})


def from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return timm's state dict, whose names equal facebookresearch/mae's, under maetool's names: `to_timm` undone."""
    return from_published(state)
