"""Writes an encoder as a folder that timm or transformers open: weights, config.json, and how images are prepared."""

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from maetool.compat import is_installed
from maetool.config.facts import argument_of
from maetool.errors import UsageError
from maetool.ops.geometry import rank_of
from maetool.registry import ENCODERS
from maetool.weights.read import safetensors_metadata
from maetool.weights.write import to_plain
from maetool.writing import write_file

from .beside import CONFIG, IMAGES
from .folder_transformers import for_transformers
from .frozen import FrozenEncoder

WEIGHTS = "model.safetensors"
_SIZES = ("img_size", "patch_size", "in_chans", "embed_dim", "depth", "num_heads", "mlp_ratio")
# Arguments of VisionTransformer that do not change what a trained encoder computes.
_ALIKE = {"type", "sees", "drop_path_rate", "init", "projection"}
_TABLES = ("sincos", "sincos_rows", "stretched", "learned", "flat")  # all are stored as one table
# Arguments that may have other values than their defaults.
_TIMM = {"layer_scale", "final_norm", "class_token", "num_registers", "qkv_bias", "qk_norm"}
_TOLERANCES = {False: 1e-4, True: 0.1}  # of tokens, by whether the weights are halves


def write_folder(model: FrozenEncoder, meta: Mapping[str, Any], to: str, folder: Path, half: bool = False) -> str:
    """Write an encoder as a folder of the hub, after comparing the tokens of what opens it with the encoder's.

    Args:
        model: the encoder and its preprocessor.
        meta: facts to store in the weights' file; `images` holds mean, deviation and sizes.
        to: "timm", for `timm.create_model("local-dir:FOLDER", pretrained=True)`; or "transformers", for
            `AutoModel.from_pretrained("FOLDER")`.
        folder: it is created; files of the same names are replaced.
        half: weights of float16.

    Returns:
        How it was compared, as a sentence.

    Raises:
        UsageError: there is no model of this project that computes the same, or the folder cannot be written.
    """
    describe, compute = _PROJECTS[to]
    encoder: Any = model.encoder
    weights = {name: value.detach().cpu() for name, value in encoder.state_dict().items() if name != "mask_token"}
    weights = {name: value.half() if half else value.contiguous() for name, value in weights.items()}
    config, renamed = describe(meta, weights)
    content = {
        WEIGHTS: save(renamed, safetensors_metadata(to_plain(dict(meta)), renamed)),
        CONFIG: _json(config),
        IMAGES: _json(_images(meta["images"])),
    }
    with TemporaryDirectory() as place:
        for name, data in content.items():
            write_file(Path(place, name), data, durable=False)
        difference = _difference(model, compute, place, to)
    if difference is not None and not difference <= _TOLERANCES[half]:
        raise UsageError(
            f"The model of {to} that opens the folder computes other tokens, by {difference:.2g}: nothing was written. "
            "Export the encoder as .safetensors, without --to."
        )
    for name, data in content.items():
        write_file(folder / name, data)
    return f"not compared, without {to}" if difference is None else f"largest difference in {to} {difference:.1e}"


def _difference(model: FrozenEncoder, compute: Callable[[str, Tensor], Tensor], folder: str, to: str) -> float | None:
    if not is_installed(to):
        return None
    assert model.image_shape is not None, "encoders of several streams have no folder"
    images = torch.randn(2, *model.image_shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            return float((compute(folder, images) - model(images)).abs().max())
    except Exception as error:  # both projects raise anything
        reason = next(iter(str(error).strip().splitlines()), "")[:200]
        raise UsageError(
            f"{to} cannot open this encoder ({type(error).__name__}: {reason}): export it as .safetensors, without "
            "--to."
        ) from error


def _compute_in_timm(folder: str, images: Tensor) -> Tensor:
    import timm

    vit: Any = timm.create_model(f"local-dir:{folder}", pretrained=True)  # strict
    return vit.eval().forward_features(images)


def _compute_in_transformers(folder: str, images: Tensor) -> Tensor:
    transformers: Any = import_module("transformers")  # which maetool does not depend on
    cls = getattr(transformers, json.loads(Path(folder, CONFIG).read_text())["architectures"][0])
    pooled = {"add_pooling_layer": False} if "add_pooling_layer" in signature(cls.__init__).parameters else {}
    vit, report = cls.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, **pooled)
    lacking = {*report["missing_keys"], *report["unexpected_keys"]}
    if lacking:
        raise ValueError(f"{len(lacking)} tensors have no place there, such as {min(lacking)}")
    return vit.eval()(images).last_hidden_state


def _for_timm(meta: Mapping[str, Any], weights: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return timm's config.json, and the weights under timm's names."""
    encoder, images = meta["encoder"], meta["images"]
    if encoder["type"] == "TimmEncoder":
        given = {name: encoder[name] for name in _SIZES if encoder.get(name) is not None}
        name, arguments = encoder["name"], {**given, "global_pool": "", **(encoder.get("options") or {})}
        if not encoder.get("final_norm", True):
            ending, norm = _without_norm(name, weights)
            arguments, weights = {**arguments, **ending}, {**weights, **norm}
    else:
        facts = _plain(encoder, _TIMM, "timm")
        name, arguments = "vit_base_patch16_224", {size: facts[size] for size in _SIZES}
        arguments |= {key: facts[key] for key in ("class_token", "qkv_bias", "qk_norm", "final_norm")}
        arguments |= {"reg_tokens": facts["num_registers"], "init_values": facts["layer_scale"], "fc_norm": False}
        arguments["global_pool"] = "token" if facts["class_token"] else "avg"
    pretrained = {
        "input_size": [images["in_chans"], *images["img_size"]],
        "fixed_input_size": True,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "mean": [value / 255 for value in images["mean"]],
        "std": [value / 255 for value in images["std"]],
        "num_classes": 0,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
    }
    width = next(value.shape[-1] for key, value in weights.items() if key.endswith("norm1.weight"))
    config = {"architecture": name, "num_classes": 0, "num_features": width, "model_args": arguments}
    return {**config, "pretrained_cfg": pretrained}, weights


def _without_norm(name: str, weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the arguments by which a model of timm ends without a norm, and the weights that it then has beside.

    A BEiT of timm has a norm either of its tokens or of their mean; the latter is new here, so it begins as it does in
    timm.
    """
    import timm

    kind = timm.model_entrypoint(name).__module__.rpartition(".")[2]
    if kind == "beit":
        like = weights["blocks.0.norm1.weight"]
        return {"global_pool": "avg"}, {"fc_norm.weight": torch.ones_like(like), "fc_norm.bias": torch.zeros_like(like)}
    return {"use_post_transformer_norm": False, "use_fc_norm": False} if kind == "eva" else {"final_norm": False}, {}


def _for_transformers(meta: Mapping[str, Any], weights: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the config.json of a model of transformers, and the weights under its names."""
    encoder = meta["encoder"]
    facts = None
    if encoder["type"] == "VisionTransformer":
        free = {"qkv_bias", "layer_scale", "class_token"}
        scaled = argument_of(encoder, ENCODERS, "layer_scale") is not None
        registers = argument_of(encoder, ENCODERS, "num_registers")
        facts = _plain(encoder, free | ({"num_registers"} if scaled or registers == 1 else set()), "transformers")
    return for_transformers(meta, weights, facts)


def _plain(encoder: Mapping[str, Any], may_differ: set[str], to: str) -> dict[str, Any]:
    """Return the arguments of a `VisionTransformer` of pictures, of which those in `may_differ` have any plain value.

    Raises:
        UsageError: it is another encoder, or has what the other project's ViT lacks.
    """
    names = {*_SIZES, *_TIMM, *encoder}
    facts = {name: argument_of(encoder, ENCODERS, name) for name in names}
    usual = {name: argument_of({"type": encoder["type"]}, ENCODERS, name) for name in names}
    free = {*_SIZES, *_ALIKE, *may_differ}
    other = [name for name in facts if name not in free and facts[name] != usual[name] and name != "pos_embed"]
    other += ["pos_embed"] * (facts.get("pos_embed", "sincos") not in _TABLES)
    other += ["qkv_bias"] * (facts["qkv_bias"] not in (True, False))
    other += ["final_norm"] * (facts["final_norm"] not in (True, False))
    is_vit = encoder["type"] == "VisionTransformer" and rank_of(facts["img_size"], facts["patch_size"]) == 2
    if other or not is_vit:
        what = f"{encoder['type']} with another {', '.join(sorted(set(other)))}" if is_vit else encoder["type"]
        raise UsageError(
            f"The ViT of {to} cannot be a {what}: export the encoder as .safetensors, without --to"
            f"{', or --to timm, which can hold more' if to == 'transformers' else ''}."
        )
    return facts


def _images(images: Mapping[str, Any]) -> dict[str, Any]:
    """Return preprocessor_config.json of transformers."""
    height, width = images["img_size"]
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": 3,  # bicubic
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [value / 255 for value in images["mean"]],
        "image_std": [value / 255 for value in images["std"]],
    }


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode()


_PROJECTS: dict[str, tuple[Callable[..., Any], Callable[[str, Tensor], Tensor]]] = {
    "timm": (_for_timm, _compute_in_timm),
    "transformers": (_for_transformers, _compute_in_transformers),
}
OPENED = {
    "timm": 'timm.create_model("local-dir:{}", pretrained=True)',
    "transformers": 'AutoModel.from_pretrained("{}")',
}
