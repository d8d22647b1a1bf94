"""Names of facebookresearch/mae checkpoints and ours.

Weights converted from the published files keep their owner's licence, which is non-commercial.
"""

from collections.abc import Mapping

from torch import Tensor

# Ours to theirs; the longest prefix wins. The encoder's names are timm's on both sides.
_PREFIXES = {
    "decoder.embed.": "decoder_embed.",
    "decoder.mask_token": "mask_token",
    "decoder.blocks.": "decoder_blocks.",
    "decoder.norm.": "decoder_norm.",
    "decoder.pred.": "decoder_pred.",
    "fc_norm.": "fc_norm.",
    "head.": "head.",
    "encoder.": "",
}
# The linear probe there has its normalisation and its layer in one sequence.
_PROBE = {**_PREFIXES, "head_norm.": "head.0.", "head.": "head.1."}


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of a `MaskedImageModel` or an `ImageClassifier` under the published names."""
    probe = any(name.startswith("head_norm.") for name in state)
    return {_rename(name, _PROBE if probe else _PREFIXES): value for name, value in state.items()}


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a published state dict under our names: the inverse of `to_published`.

    `decoder_pos_embed` is left out, because ours is computed from the grid.
    """
    names = _PROBE if "head.1.weight" in state else _PREFIXES
    inverse = {theirs: ours for ours, theirs in names.items()}
    return {_rename(name, inverse): value for name, value in state.items() if name != "decoder_pos_embed"}


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Return whether the names are the published ones, which are also timm's: those of an encoder have no prefix."""
    return any(name.startswith(("patch_embed.", "blocks.0.")) for name in state)


def _rename(name: str, prefixes: dict[str, str]) -> str:
    for old, new in sorted(prefixes.items(), key=lambda pair: -len(pair[0])):
        if name.startswith(old):
            return new + name[len(old) :]
    return name
