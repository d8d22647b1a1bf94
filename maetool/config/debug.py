"""Shrinks any config so that its whole path runs in seconds on a CPU."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine import Config

from maetool.annotations import fits, hints_of, parameters_of
from maetool.data.datasets.base import DEBUG_SAMPLES
from maetool.data.sources.kinds import is_absent
from maetool.registry import DATASETS, ENCODERS, MODELS, SOURCES, as_usage_error, find_part

from .facts import classes_of, loaders_of, parts_inside, schedulers_in, takes, task_in
from .user_data import set_classes, set_targets

_ITERS, _EPOCHS = 2, 2
_BATCH = DEBUG_SAMPLES // _ITERS
# Drawn datasets that replace files, by the task of the model; ShapesDataset for all other tasks.
_DRAWN = {"regression": "MeasuredShapes", "segmentation": "ShapesSegmentation", "detection": "ObjectShapesDataset"}


def shrink(cfg: Config) -> list[str]:
    """Shrink `cfg` in place: tiny parts, few images, two epochs of two steps.

    Every part keeps its class. `debug_arguments` of a class defines its small form, see docs/plugins.md; a part whose
    class has none stays as it is. Missing data is replaced by drawn shapes.

    Returns:
        Sentences that describe the changes.
    """
    encoder = _encoder(cfg.model)
    for part in mappings([encoder, cfg.model, *(loader for _, loader in loaders_of(cfg))]):
        _shrink_part(part, {} if part is encoder else encoder)
    sentences = ["DEBUG: a tiny model and a few iterations on the CPU; the numbers mean nothing."]
    for name, loader in loaders_of(cfg):
        sentences += _shrink_loader(name, loader, _DRAWN.get(task_in(cfg.model) or "", "ShapesDataset"))
        metainfo = getattr(find_part(loader.dataset.type, DATASETS), "metainfo", None)
        if isinstance(metainfo, Mapping) and "classes" in metainfo:
            set_classes(cfg, len(metainfo["classes"]))
        if isinstance(metainfo, Mapping) and "targets" in metainfo:
            set_targets(cfg, metainfo["targets"])
    if cfg.pop("init_from", None):
        sentences.append("DEBUG: the encoder starts from random weights, because no checkpoint fits a tiny one.")
    if cfg.get("train_cfg"):
        _shorten(cfg)
    return sentences


def _shorten(cfg: Config) -> None:
    length = {"max_iters": _EPOCHS * _ITERS, "val_interval": _EPOCHS * _ITERS}
    cfg.train_cfg.update({"max_epochs": _EPOCHS} if cfg.train_cfg.get("max_iters") is None else length)
    cfg.pop("effective_batch_size", None)
    for part in [*mappings(cfg.optim_wrapper), *schedulers_in(cfg)]:
        _shrink_part(part, {})


def mappings(node: Any) -> Iterator[Any]:
    """Yield every mapping in `node`, a config or a part of it, at any depth."""
    if isinstance(node, Mapping):
        yield node
    if isinstance(node, Mapping | list | tuple):
        for value in list(node.values()) if isinstance(node, Mapping) else node:
            yield from mappings(value)


def _encoder(model: Any) -> Any:
    """Return the config of the encoder of a model; empty where there is none."""
    inside = parts_inside(find_part(model["type"], MODELS)) if "type" in model else {}
    encoders = [model.get(name) for name, parts in inside.items() if parts is ENCODERS]
    return next((encoder for encoder in encoders if isinstance(encoder, Mapping)), {})


def _shrink_part(part: Any, encoder: Mapping[str, Any]) -> None:
    for cls in classes_of(part.get("type")):
        for name, value in _small_form(cls, part, encoder).items():
            if value is ...:
                part.pop(name, None)
            else:
                part[name] = value


def _small_form(cls: Any, part: Mapping[str, Any], encoder: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments that differ in the small form of a part.

    A subclass may have changed arguments of the base that defines the small form: a value that does not fit the base's
    annotation is not passed to it, and a result that does not fit the subclass's annotation is dropped.
    """
    owner = next((base for base in getattr(cls, "__mro__", ()) if "debug_arguments" in vars(base)), None)
    if owner is None:
        return {}
    form, hints = cls.debug_arguments, hints_of(cls)
    if callable(form):
        with as_usage_error(f"The small form of {cls.__name__}", "correct its debug_arguments"):
            form = form(_arguments(owner, part, encoder))
    if owner is cls:
        return form
    return {name: v for name, v in form.items() if name in hints and (v is ... or fits(v, hints[name]))}


def _arguments(owner: Any, part: Mapping[str, Any], encoder: Mapping[str, Any]) -> dict[str, Any]:
    parameters, hints = parameters_of(owner) or {}, hints_of(owner)
    defaults = {name: None if p.default is p.empty else p.default for name, p in parameters.items()}
    given = {name: value for name, value in part.items() if name in hints and fits(value, hints[name])}
    return {**defaults, "encoder": dict(encoder), **given}


def _places(part: Mapping[Any, Any]) -> Iterator[Any]:
    """Yield where the files of a dataset, or of the source inside of it, are."""
    for cls in classes_of(part.get("type")):
        yield part.get(getattr(cls, "files_in", None))
        inside = [part.get(name) for name, parts in parts_inside(cls).items() if parts is SOURCES]
        for source in mappings(inside):
            yield from _places(source)


def _shrink_loader(name: str, loader: Any, drawn: str) -> list[str]:
    # Validation images may differ in size, which needs batches of one.
    size = _BATCH if name == "train_dataloader" else min(loader.get("batch_size") or _BATCH, _BATCH)
    loader.batch_size, loader.num_workers = size, 0
    dataset = loader.dataset
    missing = [place for place in _places(dataset) if isinstance(place, str | Path) and is_absent(place)]
    if not missing:
        return []
    loader.dataset = {"type": drawn, "pipeline": dataset.get("pipeline", [])}
    if "in_chans" in dataset and takes(loader.dataset, DATASETS, "in_chans"):
        loader.dataset["in_chans"] = dataset.in_chans
    _shrink_part(loader.dataset, {})
    return [f"DEBUG: {name}: {missing[0]} does not exist, so drawn shapes replace it."]
