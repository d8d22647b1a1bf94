"""Compatibility: encoders whose computation has changed since an earlier version."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mmengine import ConfigDict
from torch import nn

from maetool.errors import UsageError
from maetool.registry import ENCODERS, MODELS, find_part

from .facts import has_classes, takes, task_in


def as_trained(section: ConfigDict, meta: Any) -> ConfigDict:
    """Return a checkpoint's model section, its encoder set to compute what it computed in training.

    Only models with classes are changed; the features of a pretrained encoder are those of the current version.

    Args:
        section: `model` of the config in the checkpoint; every `type` must be registered.
        meta: the checkpoint's metadata, with the versions that wrote it.
    """
    if "type" not in section or "type" not in section.get("encoder", {}):
        return section
    with suppress(UsageError):
        if _has_classes(section):
            options = _options_of(find_part(section.encoder["type"], ENCODERS), _version_of(meta))
            return ConfigDict({**section, "encoder": {**options, **section.encoder}})
    return section


def check_as_trained(model: nn.Module, meta: Any, source: Any) -> None:
    """Check that the encoder under a classifier, segmentor or detector computes what it was trained with.

    Args:
        model: the model that all weights of the checkpoint are loaded into.
        meta: the checkpoint's metadata.
        source: the file, for the message.

    Raises:
        UsageError: the version of maetool that trained it computed something else; the message says what to add to
            the config.
    """
    version, encoder = _version_of(meta), getattr(model, "encoder", None)
    if not has_classes(model):
        return
    for name, value in _options_of(encoder, version).items():
        if getattr(encoder, name) != value:
            raise UsageError(
                f"{source} was trained with maetool {version}, whose {type(encoder).__name__} always behaved as with "
                f"{name}={value!r}: add --cfg-options model.encoder.{name}={value}."
            )


def _has_classes(section: Mapping[str, Any]) -> bool:
    task = task_in(section)
    return takes(section, MODELS, "num_classes") if task is None else task != "pretraining"


def _options_of(encoder: Any, version: str) -> Mapping[str, Any]:
    return getattr(encoder, "earlier_options", {}).get(version, {})


def _version_of(meta: Any) -> str:
    versions = meta.get("versions") if isinstance(meta, Mapping) else None
    return str(versions.get("maetool")) if isinstance(versions, Mapping) else ""
