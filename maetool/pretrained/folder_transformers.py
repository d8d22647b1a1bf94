"""Which model of transformers computes what an encoder does: its config.json, and the weights under its names."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from maetool.config.facts import argument_of
from maetool.errors import UsageError
from maetool.ops.geometry import grid_of, to_size
from maetool.registry import ENCODERS
from maetool.weights.formats import swin, transformers_dinov3
from maetool.weights.formats.key_map import split_qkv, with_aliases
from maetool.weights.formats.transformers import to_transformers

Weights = Mapping[str, Tensor]
Grid = tuple[int, ...]
Folder = tuple[dict[str, Any], dict[str, Tensor]]
Described = tuple[dict[str, Any], dict[str, Tensor], Weights]  # config.json, renamed weights, and those of the encoder
# Names of the parts of a block, where they are others than ViT's.
_DINOV2 = {
    r"\.layernorm_before\.": ".norm1.",
    r"\.layernorm_after\.": ".norm2.",
    r"\.intermediate\.dense\.": ".mlp.fc1.",
    r"(\.\d+)\.output\.dense\.": r"\1.mlp.fc2.",
}
_GATED = {r"\.mlp\.fc1\.": ".mlp.weights_in.", r"\.mlp\.fc2\.": ".mlp.weights_out."}
_LAYER = "encoder.layer."
_SCALES = {r"^blocks\.(\d+)\.ls([12])\.gamma$": rf"{_LAYER}\1.layer_scale\2.lambda1"}
_BEIT = {
    r"^blocks\.(\d+)\.gamma_([12])$": rf"{_LAYER}\1.lambda_\2",
    r"^blocks\.(\d+)\.attn\.(relative_position_bias_table)$": (
        rf"{_LAYER}\1.attention.attention.relative_position_bias.\2"
    ),
    r"^rel_pos_bias\.": "encoder.relative_position_bias.",
}


def for_transformers(meta: Mapping[str, Any], weights: Weights, facts: Mapping[str, Any] | None) -> Folder:
    """Return config.json and the weights under the names of the model of transformers, which it names.

    Args:
        meta: the result of `maetool.pretrained.export.describe`.
        weights: of the encoder, under its own names.
        facts: arguments of `VisionTransformer`, if the encoder is one.

    Raises:
        UsageError: transformers has no model that computes the same.
    """
    encoder, images = meta["encoder"], meta["images"]
    describe = _kind_of(encoder, facts)
    kernel = weights.get("patch_embed.proj.weight")
    if kernel is None:
        raise _nothing(encoder)
    patch = tuple(kernel.shape[2:])
    config, renamed, own = describe(encoder, weights, grid_of(tuple(images["img_size"]), patch))
    if sum(map(torch.numel, renamed.values())) != sum(map(torch.numel, own.values())):
        raise _lacking(encoder, f"tensors beside those of {config['architectures'][0]}")
    sizes = {"image_size": _short(images["img_size"]), "patch_size": _short(patch)}
    sizes["num_channels"] = images["in_chans"]
    config = {"hidden_act": "gelu", "layer_norm_eps": 1e-6, **sizes, **config}
    return config, {name: value.contiguous() for name, value in renamed.items()}


def _kind_of(encoder: Mapping[str, Any], facts: Mapping[str, Any] | None) -> Callable[..., Described]:
    if facts is None:
        name = "swin" if encoder["type"] == "SwinTransformer" else str(encoder.get("name"))
        describe, options = next((other for word, other in _OTHERS.items() if word in name), (None, set[str]()))
        if describe is None:
            raise _nothing(encoder)
        if unknown := {*(encoder.get("options") or {})} - options:
            raise _lacking(encoder, f"another {', '.join(sorted(unknown))}")
        return describe
    if facts["layer_scale"] is not None:
        return _dinov2
    if not facts["class_token"]:
        return _ijepa
    return _deit if facts["num_registers"] == 1 else _vit


def _short(size: Any) -> int | list[int]:
    """Return one number for a square, as some models of transformers need it."""
    return size[0] if len(set(size)) == 1 else list(size)


def _lacking(encoder: Mapping[str, Any], what: str) -> UsageError:
    return UsageError(
        f"The models of transformers cannot be a {encoder.get('name') or encoder['type']} with {what}: export the "
        "encoder as .safetensors, without --to, or --to timm, which can hold more."
    )


def _nothing(encoder: Mapping[str, Any]) -> UsageError:
    name = f" ({encoder['name']})" if "name" in encoder else ""
    return UsageError(
        f"The models of transformers cannot be a {encoder['type']}{name}: export the encoder as .safetensors, without "
        "--to, or --to timm, which can hold more."
    )


def _sizes(encoder: Mapping[str, Any], weights: Weights) -> dict[str, Any]:
    """Return the sizes that all ViTs of transformers have."""
    return {
        "hidden_size": weights["patch_embed.proj.weight"].shape[0],
        "num_hidden_layers": len({name.split(".")[1] for name in weights if name.startswith("blocks.")}),
        "num_attention_heads": _heads(encoder),
        "intermediate_size": weights["blocks.0.mlp.fc2.weight"].shape[1],
        "qkv_bias": any(name.endswith(("qkv.bias", "q_bias")) for name in weights),
    }


def _heads(encoder: Mapping[str, Any]) -> int:
    if encoder["type"] != "TimmEncoder":
        return int(argument_of(encoder, ENCODERS, "num_heads"))
    with torch.device("meta"):
        return int(ENCODERS.build(dict(encoder)).vit.blocks[0].attn.num_heads)


def _named(weights: Weights, others: Mapping[str, str], after: Mapping[str, str] | None = None) -> dict[str, Tensor]:
    """Return weights under the names of a bare ViT, with `others` renamed by themselves, and patterns `after` that."""
    apart = with_aliases(weights, others)
    plain = {f"encoder.{name}": value for name, value in apart.items() if name in weights}
    renamed = {name.removeprefix("vit."): value for name, value in to_transformers(plain).items()}
    return with_aliases({**renamed, **{name: apart[name] for name in apart if name not in weights}}, after or {})


def _vit(encoder: Mapping[str, Any], weights: Weights, grid: Grid) -> Described:
    config = {"model_type": "vit", "architectures": ["ViTModel"], **_sizes(encoder, weights)}
    return config, _named(weights, {}), weights


def _deit(encoder: Mapping[str, Any], weights: Weights, grid: Grid) -> Described:
    """DeiT, whose token for distillation is a register here."""
    config = {"model_type": "deit", "architectures": ["DeiTModel"], **_sizes(encoder, weights)}
    return config, _named(weights, {r"^reg_token$": "embeddings.distillation_token"}), weights


def _ijepa(encoder: Mapping[str, Any], weights: Weights, grid: Grid) -> Described:
    config = {"model_type": "ijepa", "architectures": ["IJepaModel"], **_sizes(encoder, weights)}
    return config, _named(weights, {}), weights


def _dinov2(encoder: Mapping[str, Any], weights: Weights, grid: Grid) -> Described:
    """DINOv2 with registers, which have no positions there, or without; the layers of its giants are gated."""
    registers = weights["reg_token"].shape[1] if "reg_token" in weights else 0
    sizes = _sizes(encoder, weights)
    hidden, width = sizes.pop("intermediate_size"), sizes["hidden_size"]
    gated = len(weights["blocks.0.mlp.fc1.weight"]) == 2 * hidden
    ratio = next((ratio for ratio in range(1, 17) if _hidden(width, ratio, gated) == hidden), None)
    other = {
        "no class token": "cls_token" not in weights,
        "no layer scale": "blocks.0.ls1.gamma" not in weights,
        "no final norm": "norm.weight" not in weights,
        f"hidden layers of {hidden} channels": ratio is None,
        "images that are no squares": len(set(grid)) > 1,
    }
    if any(other.values()):
        raise _lacking(encoder, " and ".join(what for what, is_so in other.items() if is_so))
    own = {**weights, "pos_embed": _without_registers(encoder, weights["pos_embed"], registers, grid)}
    kind = f"dinov2{'_with_registers' * bool(registers)}"
    config = {"model_type": kind, "architectures": [f"Dinov2{'WithRegisters' * bool(registers)}Model"], **sizes}
    config |= {"mlp_ratio": ratio, "use_swiglu_ffn": gated} | ({"num_register_tokens": registers} if registers else {})
    names = {r"^reg_token$": "embeddings.register_tokens", **_SCALES}
    renamed = _named(own, names, _DINOV2 | (_GATED if gated else {}))
    mask = {"embeddings.mask_token": own["cls_token"].new_zeros(1, width)}  # which nothing reads but its pretraining
    return config, renamed | mask, own | mask


def _hidden(width: int, ratio: int, gated: bool) -> int:
    """Return the width of DINOv2's hidden layers, which gated ones round up (`Dinov2SwiGLUFFN` of transformers)."""
    return (int(width * ratio * 2 / 3) + 7) // 8 * 8 if gated else width * ratio


def _without_registers(encoder: Mapping[str, Any], table: Tensor, registers: int, grid: Grid) -> Tensor:
    """Return positions (1, 1 + L, D) of the class token and the patches."""
    before = table.shape[1] - grid[0] * grid[1]
    if before == 0:  # of the patches alone, as in timm's DINOv2 with registers
        return functional.pad(table, (0, 0, 1, 0))
    if before > 1 and table[:, 1:before].count_nonzero():
        raise _lacking(encoder, "positions of its registers")
    return torch.cat([table[:, :1], table[:, before:]], dim=1)


def _beit(encoder: Mapping[str, Any], weights: Weights, grid: Grid) -> Described:
    """BEiT, with positions in each block, shared by all, or in a table."""
    if len(set(grid)) > 1:
        raise _lacking(encoder, "images that are no squares")  # whose relative positions transformers mixes up
    scale = 0.1 if "blocks.0.gamma_1" in weights else 0.0
    config = {"model_type": "beit", "architectures": ["BeitModel"], **_sizes(encoder, weights)}
    if not config.pop("qkv_bias"):
        raise _lacking(encoder, "no biases of queries and values")
    config |= {
        "use_relative_position_bias": "blocks.0.attn.relative_position_bias_table" in weights,
        "use_shared_relative_position_bias": "rel_pos_bias.relative_position_bias_table" in weights,
        "use_absolute_position_embeddings": "pos_embed" in weights,
        "layer_scale_init_value": scale,
        "use_mean_pooling": "norm.weight" not in weights,
        "use_mask_token": False,
    }
    biased = {re.sub(r"attn\.([qv])_bias$", r"attn.\1.bias", name): value for name, value in weights.items()}
    split = split_qkv(biased)
    return config, _named(split, _BEIT), weights


def _dinov3(encoder: Mapping[str, Any], weights: Weights, grid: Grid) -> Described:
    options = encoder.get("options") or {}
    renamed = transformers_dinov3.to_transformers({f"encoder.{name}": value for name, value in weights.items()})
    gated, biased = "blocks.0.mlp.fc1_g.weight" in weights, "blocks.0.attn.q_bias" in weights
    sizes = _sizes(encoder, weights)
    config = {"model_type": "dinov3_vit", "architectures": ["DINOv3ViTModel"], **sizes, "layer_norm_eps": 1e-5}
    config |= {"use_gated_mlp": gated, "hidden_act": "silu" if gated else "gelu", "key_bias": False}
    config |= {"query_bias": biased, "value_bias": biased, "rope_theta": options.get("rope_temperature", 100.0)}
    config |= {"num_register_tokens": weights["reg_token"].shape[1]}
    mask = {"embeddings.mask_token": weights["cls_token"].new_zeros(1, 1, sizes["hidden_size"])}
    return config, renamed | mask, {**weights, **mask}


def _swin(encoder: Mapping[str, Any], weights: Weights, grid: Grid) -> Described:
    names = ("img_size", "patch_size", "embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "norm_eps")
    facts = {name: argument_of(encoder, ENCODERS, name) for name in names}
    facts |= {name: to_size(facts[name], name) for name in ("img_size", "patch_size", "window_size")}
    facts["window_size"] = facts["window_size"][0]
    if argument_of(encoder, ENCODERS, "sees") != "all" or swin.shifts_otherwise(facts):
        raise _lacking(encoder, 'sees="visible", or a stage that is longer than a window along one axis only')
    config = {"model_type": "swin", "architectures": ["SwinModel"], "layer_norm_eps": facts["norm_eps"]}
    config |= {name: facts[name] for name in ("embed_dim", "window_size", "mlp_ratio")}
    config |= {name: list(facts[name]) for name in ("depths", "num_heads")} | {"qkv_bias": True}
    renamed = swin.to_transformers({f"encoder.{name}": value for name, value in weights.items()})
    return config, {name.removeprefix("swin."): value for name, value in renamed.items()}, weights


# By a word in timm's name, the first that fits: what describes it, and the options of `TimmEncoder` that it can hold.
_OTHERS: dict[str, tuple[Callable[..., Described], set[str]]] = {
    "swin": (_swin, set()),
    "beit": (
        _beit,
        {"init_values", "mlp_ratio", "use_abs_pos_emb", "use_rel_pos_bias", "use_shared_rel_pos_bias", "qkv_bias"},
    ),
    "dinov3": (_dinov3, {"init_values", "mlp_ratio", "num_reg_tokens", "rope_temperature"}),
    "dinov2": (_dinov2, {"init_values", "mlp_ratio", "reg_tokens", "qkv_bias", "no_embed_class"}),
}
