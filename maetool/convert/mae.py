"""Names of facebookresearch/mae checkpoints and ours.

Weights converted from the published files keep their owner's licence, which is non-commercial.
"""

from torch import Tensor

# Ours to theirs; the longest prefix wins. The encoder's names are timm's on both sides.
_PREFIXES = {
    "decoder.embed.": "decoder_embed.",
    "decoder.mask_token": "mask_token",
    "decoder.blocks.": "decoder_blocks.",
    "decoder.norm.": "decoder_norm.",
    "decoder.pred.": "decoder_pred.",
    "encoder.": "",
}


def to_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a `MaskedImageModel` state dict under the published names."""
    return {_rename(name, _PREFIXES): value for name, value in state.items()}


def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a published state dict under the names of `MaskedImageModel`: the inverse of `to_published`.

    `decoder_pos_embed` is left out, because ours is computed from the grid.
    """
    inverse = {theirs: ours for ours, theirs in _PREFIXES.items()}
    return {_rename(name, inverse): value for name, value in state.items() if name != "decoder_pos_embed"}


def _rename(name: str, prefixes: dict[str, str]) -> str:
    for old, new in sorted(prefixes.items(), key=lambda pair: -len(pair[0])):
        if name.startswith(old):
            return new + name[len(old) :]
    return name
