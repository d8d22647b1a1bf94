"""Renames torchvision's `VisionTransformer`, also inside of lightly's `MaskedVisionTransformerTorchvision`."""

from collections.abc import Mapping

from torch import Tensor

from .key_map import KeyMap, with_aliases

_BLOCK = {
    "ln_1.{p}": "norm1.{p}",
    "self_attention.in_proj_{p}": "attn.qkv.{p}",
    "self_attention.out_proj.{p}": "attn.proj.{p}",
    "ln_2.{p}": "norm2.{p}",
    "mlp.0.{p}": "mlp.fc1.{p}",
    "mlp.3.{p}": "mlp.fc2.{p}",
}
_LAYER = "encoder.layers.encoder_layer_{i}"
_NAMES = KeyMap(
    {
        "class_token": "encoder.cls_token",
        "mask_token": "encoder.mask_token",
        "conv_proj.{p}": "encoder.patch_embed.proj.{p}",
        "encoder.pos_embedding": "encoder.pos_embed",
        **{f"{_LAYER}.{other}": f"encoder.blocks.{{i}}.{own}" for other, own in _BLOCK.items()},
        "encoder.ln.{p}": "encoder.norm.{p}",
        "heads.head.{p}": "head.{p}",
    }
)
_ALIASES = {r"\.mlp\.linear_1\.": ".mlp.0.", r"\.mlp\.linear_2\.": ".mlp.3."}  # the published files


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of torchvision's `VisionTransformer` under maetool's names."""
    return _NAMES.to_ours(with_aliases(state, _ALIASES))


def to_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder and head in `state` under torchvision's names: `from_torchvision` undone."""
    return _NAMES.to_theirs({name: value for name, value in state.items() if name != "encoder.mask_token"})


def is_torchvision(state: Mapping[str, Tensor]) -> bool:
    """Return whether the names of `state` are those of torchvision's `VisionTransformer`."""
    return "conv_proj.weight" in state
