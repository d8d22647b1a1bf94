"""Renames checkpoints of facebookresearch/mae.

Weights converted from the published files keep their owner's licence, which is non-commercial.
"""

from collections.abc import Mapping

from torch import Tensor

from .key_map import KeyMap
from .positions import with_fixed
from .swin import is_microsoft

_DECODER = {
    "mask_token": "decoder.mask_token",
    "decoder_pos_embed": "decoder.pos_embed",
    "decoder_embed.{p}": "decoder.embed.{p}",
    "decoder_blocks.{rest}": "decoder.blocks.{rest}",
    "decoder_norm.{p}": "decoder.norm.{p}",
    "decoder_pred.{p}": "decoder.pred.{p}",
}
_HEADS = {"fc_norm.{p}": "fc_norm.{p}", "head.{p}": "head.{p}"}
_ENCODER = {"{rest}": "encoder.{rest}"}  # both use timm's names
NAMES = KeyMap(_DECODER | _HEADS | _ENCODER)
# The published linear probe has normalisation and layer in one nn.Sequential.
PROBE_NAMES = KeyMap(_DECODER | {"head.0.{rest}": "head_norm.{rest}", "head.1.{p}": "head.{p}"} | _ENCODER)


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of a `MaskedImageModel` or an `ImageClassifier` under the published names.

    The decoder's positions are computed if an older checkpoint of maetool lacks them.
    """
    probe = any(name.startswith("head_norm.") for name in state)
    return (PROBE_NAMES if probe else NAMES).to_theirs(with_fixed(state))


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a published state dict under maetool's names: the inverse of `to_published`.

    Without a decoder a mask token is the encoder's, as in exported encoders that see blank places.
    """
    names = PROBE_NAMES if "head.1.weight" in state else NAMES
    if "mask_token" in state and not any(name.startswith("decoder_") for name in state):
        others = {name: value for name, value in state.items() if name != "mask_token"}
        return names.to_ours(others) | {"encoder.mask_token": state["mask_token"]}
    return names.to_ours(state)


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Return whether the names of `state` are the published ones, which are also timm's: the encoder has no prefix."""
    return any(name.startswith(("patch_embed.proj.", "blocks.0.")) for name in state) and not is_microsoft(state)
