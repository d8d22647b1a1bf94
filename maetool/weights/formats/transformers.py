"""Renames Hugging Face's ViTs: ViTMAE, ViT, MSN, DeiT, Dinov2, I-JEPA, BEiT, Data2Vec and VideoMAE, bare or not.

The names are those of the files on the hub, which every version of transformers reads. Its norms have an epsilon of
1e-12 by default, maetool's 1e-6: set `layer_norm_eps=1e-6` in transformers for equal numbers.
"""

from collections.abc import Mapping

from torch import Tensor

from .key_map import KeyMap, fuse_qkv, split_qkv, with_aliases
from .positions import with_fixed
from .swin import is_transformers as is_swin
from .transformers_dinov3 import is_transformers_dinov3 as is_dinov3

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
    r"^(embeddings|encoder\.layer|encoder\.relative_position_bias|layers|layernorm)\.": r"vit.\1.",  # bare encoders
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
    r"\.attention\.attention\.q_bias$": ".attention.attention.query.bias",  # VideoMAE
    r"\.attention\.attention\.v_bias$": ".attention.attention.value.bias",
    r"^pooler\.layernorm\.": "fc_norm.",  # BEiT, of the mean of the patches
}
# What other encoders have beside, or in place of, what a plain ViT has: the last names of tensors, as maetool has them.
_BESIDE = {
    r"^vit\.encoder\.layer\.": "encoder.blocks.",
    r"^vit\.encoder\.relative_position_bias\.": "encoder.rel_pos_bias.",
    r"\.attention\.attention\.relative_position_bias\.": ".attn.",
    r"^(encoder\.blocks\.\d+)\.relative_position_bias\.": r"\1.attn.",  # modules of transformers 5
    r"^(?:vit\.)?shared_position_bias\.": "encoder.rel_pos_bias.",
    r"^vit\.embeddings\.": "encoder.",
}


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of a model of transformers under maetool's names.

    What a plain ViT has not, such as layer scale, stays a tensor of the encoder, under its own last name.
    """
    renamed = fuse_qkv(_NAMES.to_ours(with_aliases(state, _ALIASES)))
    return with_aliases(renamed, _BESIDE)


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `state`, of a `MaskedImageModel` or `ImageClassifier`, in transformers' names; see `from_transformers`."""
    return _NAMES.to_theirs(split_qkv(with_fixed(state)))


def is_transformers(state: Mapping[str, Tensor]) -> bool:
    """Return whether the names of `state` are those of a ViT of transformers, bare or not, with a list of layers."""
    embeds = any(name.removeprefix("vit.").startswith("embeddings.patch_embeddings.") for name in state)
    return embeds and not is_swin(state) and not is_dinov3(state)
