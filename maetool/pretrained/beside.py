"""What the files of Hugging Face and timm beside a checkpoint say about its encoder and its images."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maetool.annotations import describe, fits
from maetool.errors import UsageError
from maetool.reading import read_file
from maetool.weights.addresses import FACTS, facts_of_timm, local_file, timm_name

CONFIG, IMAGES = FACTS
_MOST_BYTES = 2**24  # of a file, which normally has some kilobytes
_KINDS: dict[str, Any] = {
    "num_heads": int,
    "img_size": int | Sequence[int],
    "mean": Sequence[float],
    "std": Sequence[float],
    "activation": str,
    "epsilon": float,
    "rotary_base": float,
    "model": str,
    "scale": float,
    "timm": Mapping[str, Any],
}
_OWN = ("patch_size", "in_chans", "embed_dim", "depth", "num_heads")  # arguments of a TimmEncoder
_WITHOUT = ("img_size", "num_classes", "global_pool", "fc_norm", "dynamic_img_size", "dynamic_img_pad")
_GELU = ("gelu", "gelu_python")  # by the error function; other names are of approximations and of other functions
_SILU = ("silu", "swish")
_LARGEST_EPSILON = 1e-5  # from 1e-12, transformers' own, it differs from 1e-6 by less than the rounding of bfloat16


def facts_of(source: str | Path) -> dict[str, Any]:
    """Return what is known of a checkpoint beside its weights: `facts_beside` it, or what timm says of `timm:NAME`.

    Args:
        source: a path, an address, or the name of a model of a hub; see `maetool.weights.addresses.local_file`.
    """
    name = timm_name(source)
    return facts_beside(local_file(source)) if name is None else _of_name(name)


def _of_name(name: str) -> dict[str, Any]:
    weights = facts_of_timm(name)
    assert weights is not None, "see local_file"
    facts = _of_timm({"architecture": name.partition(".")[0], "pretrained_cfg": weights.to_dict()})
    facts |= {key: [255 * value for value in facts[key]] for key in ("mean", "std")}
    return {key: value for key, value in facts.items() if value is not None}


def facts_beside(path: Path) -> dict[str, Any]:
    """Read the facts in the files of Hugging Face or timm beside a checkpoint.

    Args:
        path: of the checkpoint, or of its folder.

    Returns:
        Those of `num_heads`, `img_size`, `activation`, `epsilon`, `rotary_base`, `model` (the type of transformers),
        `mean` and `std` of stored values, 0 to 255, and `timm`, arguments of a `TimmEncoder`, that the files name.

    Raises:
        UsageError: a fact of a wrong type.
    """
    folder = path if path.is_dir() else path.parent
    config, images = (_read_json(folder / name) for name in (CONFIG, IMAGES))
    facts = _of_timm(config) if "pretrained_cfg" in config or "architecture" in config else _of_hugging_face(config)
    facts |= _of_images(images)
    for name, hint in _KINDS.items():
        if facts.get(name) not in (None, []) and not fits(facts[name], hint):
            raise UsageError(
                f"{CONFIG} or {IMAGES} in {folder} says that {name} is {str(facts[name])[:80]}, but "
                f"it must be {describe(hint)}: correct it, or pass a config with --config."
            )
    scale = facts.pop("scale", None) or 1 / 255
    facts |= {name: [value / scale for value in facts.get(name) or ()] for name in ("mean", "std")}
    return {name: value for name, value in facts.items() if value not in (None, [])}


def _of_hugging_face(config: Mapping[str, Any]) -> dict[str, Any]:
    tower = config.get("vision_config")  # of a model of pictures and texts
    config = tower if isinstance(tower, Mapping) else config
    rotary = config.get("rope_parameters")
    size, frames = config.get("image_size"), config.get("num_frames")
    is_clip = isinstance(frames, int) and isinstance(size, int)
    return {
        "num_heads": config.get("num_attention_heads"),
        "img_size": [frames, size, size] if is_clip else size,
        "activation": config.get("hidden_act"),
        "epsilon": config.get("layer_norm_eps"),
        "rotary_base": (rotary if isinstance(rotary, Mapping) else config).get("rope_theta"),
        "model": config.get("model_type"),
    }


def _of_timm(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts in timm's config.json: of the weights, and the arguments other than the architecture's own."""
    weights, arguments = (
        section if isinstance(section, Mapping) else {}
        for section in (config.get("pretrained_cfg", config), config.get("model_args"))
    )
    size = weights.get("input_size")  # C, H, W
    return {
        "num_heads": heads if isinstance(heads := arguments.get("num_heads"), int) else None,
        "img_size": arguments.get("img_size") or (list(size[1:]) if isinstance(size, list | tuple) else size),
        "mean": weights.get("mean"),
        "std": weights.get("std"),
        "activation": arguments.get("act_layer"),
        "timm": {"name": config.get("architecture"), **_of_encoder(arguments)},
    }


def _of_encoder(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return timm's arguments as those of a `TimmEncoder`, which has its own head and size."""
    own = {name: arguments[name] for name in _OWN if arguments.get(name) is not None}
    options = {name: value for name, value in arguments.items() if name not in {*_OWN, *_WITHOUT}}
    return {**own, **({"options": options} if options else {})}


def _of_images(images: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts in preprocessor_config.json, by which stored values are scaled and then normalised."""
    names = {"mean": "image_mean", "std": "image_std", "scale": "rescale_factor"}
    facts = {name: images[there] for name, there in names.items() if images.get(there) is not None}
    if images.get("do_normalize") is False:
        facts |= {"mean": [0.0] * 3, "std": [1.0] * 3}
    return facts | ({"scale": 1.0} if images.get("do_rescale") is False else {})


def check_functions(facts: Mapping[str, Any], path: Path, gated: bool = False) -> None:
    """Check what weights do not show and an encoder of maetool always has: the exact GELU, and an epsilon of 1e-6.

    Args:
        facts: the result of `facts_beside`.
        path: of the checkpoint, for the message.
        gated: whether its hidden layers are gated, by SiLU.

    Raises:
        UsageError: another activation, or an epsilon that makes a difference.
    """
    activation, epsilon = facts.get("activation"), facts.get("epsilon")
    usual = _SILU if gated else _GELU
    differs = {
        f"the activation {activation!r} instead of {usual[0]!r}": activation is not None and activation not in usual,
        f"norms with an epsilon of {epsilon} instead of 1e-6": epsilon is not None
        and not 0 <= epsilon <= _LARGEST_EPSILON,
    }
    if any(differs.values()):
        found = " and ".join(name for name, is_other in differs.items() if is_other)
        raise UsageError(
            f"{CONFIG} beside {path.name} describes {found}, which maetool's VisionTransformer does not have: pass a "
            "config of an encoder that has it, or its name in timm, --config timm:NAME."
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_file(path, _MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
