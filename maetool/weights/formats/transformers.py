"""Renames Hugging Face's `ViTMAEForPreTraining`, `ViTForImageClassification`, Dinov2 and their bare encoders.

The names are those of the files on the hub, which every version of transformers reads. Its norms have an epsilon of
1e-12 by default, maetool's 1e-6: set `layer_norm_eps=1e-6` in transformers for equal numbers.
"""

from collections.abc import Mapping

from torch import Tensor

from .key_map import KeyMap, fuse_qkv, split_qkv, with_aliases
from .positions import with_fixed

_BLOCK = {
    "attention.attention.query.{p}": "attn.q.{p}",
    "attention.attention.key.{p}": "attn.k.{p}",
    "attention.attention.value.{p}": "attn.v.{p}",
    "attention.output.dense.{p}": "attn.proj.{p}",
    "intermediate.dense.{p}": "mlp.fc1.{p}",
    "output.dense.{p}": "mlp.fc2.{p}",
    "layernorm_before.{p}": "norm1.{p}",
    "layernorm_after.{p}": "norm2.{p}",
}
_NAMES = KeyMap(
    {
        "vit.embeddings.cls_token": "encoder.cls_token",
        "vit.embeddings.mask_token": "encoder.mask_token",
        "vit.embeddings.position_embeddings": "encoder.pos_embed",
        "vit.embeddings.patch_embeddings.projection.{p}": "encoder.patch_embed.proj.{p}",
        **{f"vit.encoder.layer.{{i}}.{other}": f"encoder.blocks.{{i}}.{own}" for other, own in _BLOCK.items()},
        "vit.layernorm.{p}": "encoder.norm.{p}",
        "decoder.mask_token": "decoder.mask_token",
        "decoder.decoder_pos_embed": "decoder.pos_embed",
        "decoder.decoder_embed.{p}": "decoder.embed.{p}",
        **{f"decoder.decoder_layers.{{i}}.{other}": f"decoder.blocks.{{i}}.{own}" for other, own in _BLOCK.items()},
        "decoder.decoder_norm.{p}": "decoder.norm.{p}",
        "decoder.decoder_pred.{p}": "decoder.pred.{p}",
        "classifier.{p}": "head.{p}",
    }
)
_ALIASES = {
    r"^(embeddings|encoder\.layer|layers|layernorm)\.": r"vit.\1.",  # bare encoders
    r"^vit\.layers\.": "vit.encoder.layer.",  # modules of transformers 5, whose files keep the names above
    r"^decoder\.decoder_encoder\.layer\.": "decoder.decoder_layers.",  # files that 5.23 wrote
    r"\.attention\.q_proj\.": ".attention.attention.query.",
    r"\.attention\.k_proj\.": ".attention.attention.key.",
    r"\.attention\.v_proj\.": ".attention.attention.value.",
    r"\.attention\.o_proj\.": ".attention.output.dense.",
    r"^(vit\.encoder\.layer\.\d+\.)norm1\.": r"\1layernorm_before.",  # Dinov2
    r"^(vit\.encoder\.layer\.\d+\.)norm2\.": r"\1layernorm_after.",
    r"\.mlp\.fc1\.": ".intermediate.dense.",
    r"\.mlp\.fc2\.": ".output.dense.",
}


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of a model of transformers under maetool's names.

    What a plain ViT has not, such as layer scale, stays a tensor of the encoder, under its own last name.
    """
    renamed = fuse_qkv(_NAMES.to_ours(with_aliases(state, _ALIASES)))
    return with_aliases(renamed, {r"^vit\.encoder\.layer\.": "encoder.blocks.", r"^vit\.embeddings\.": "encoder."})


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `state`, of a `MaskedImageModel` or `ImageClassifier`, in transformers' names; see `from_transformers`."""
    return _NAMES.to_theirs(split_qkv(with_fixed(state)))


def is_transformers(state: Mapping[str, Tensor]) -> bool:
    """Return whether the names of `state` are those of a ViT of transformers, bare or not."""
    return any(name.removeprefix("vit.").startswith("embeddings.patch_embeddings.") for name in state)
