"""The options with which a config builds the encoder of a checkpoint."""

from collections.abc import Iterable, Mapping
from typing import Any

from maetool.config.facts import argument_of
from maetool.errors import UsageError
from maetool.registry import ENCODERS, MODELS

from .facts import section_in

# Arguments that a config may state where the checkpoint's leaves them at their defaults.
_LIKE = {"WindowedTransformer": "VisionTransformer"}  # takes the weights of another one, and its arguments of the shape
_SHAPE = ("img_size", "patch_size", "in_chans", "embed_dim", "depth", "num_heads", "mlp_ratio")


def options_as_trained(model: Mapping[str, Any], meta: Any) -> list[str]:
    """Return options that give a config the encoder and normalisation of a checkpoint; none if it does not tell them.

    Of the encoder these are the arguments that the training stated, and those of its shape; others, such as a rate of
    drop path, belong to the recipe of the config.

    Args:
        model: section of the config.
        meta: metadata of the checkpoint.
    """
    try:
        there = section_in(meta)
        return [] if there is None else _options(model, there)
    except UsageError:  # an unknown part, of which whoever builds it tells
        return []


def _options(model: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    here, encoder = model.get("encoder") or {}, there["encoder"]
    own_type, type_there = str(here.get("type")), str(encoder.get("type"))
    if own_type != type_there and _LIKE.get(own_type) != type_there:  # whose arguments are others
        return []
    stated = [*encoder, *(name for name in _SHAPE if name in here)]
    names = dict.fromkeys(name for name in stated if own_type == type_there or name in _SHAPE)
    own, images = (section.get("data_preprocessor") or {"type": "ImagePreprocessor"} for section in (model, there))
    return [
        *_different("encoder", names, here, encoder, ENCODERS),
        *_different("data_preprocessor", ["mean", "std"], own, images, MODELS),
    ]


def _different(
    part: str, names: Iterable[str], here: Mapping[str, Any], there: Mapping[str, Any], registry: Any
) -> list[str]:
    pairs = {name: [argument_of(each, registry, name) for each in (here, there)] for name in names}
    values = {name: value for name, (own, value) in pairs.items() if _plain(own) != _plain(value)}
    return [f"model.{part}.{name}={str(_plain(value)).replace(' ', '')}" for name, value in values.items()]


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
