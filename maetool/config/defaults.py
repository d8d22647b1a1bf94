"""Config defaults: fills in values that are the same in nearly all configs; explicit values stay."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mmengine import Config
from mmengine.registry import Registry

from maetool.engine.optim.schedules import WarmupSchedule
from maetool.errors import UsageError
from maetool.registry import DATASETS, MODELS, PARAM_SCHEDULERS, find_part

from .facts import loaders_of, schedulers_in


def fill_defaults(cfg: Config) -> None:
    """Fill in, in `cfg` itself, samplers and collate functions, and what schedules, hooks and validation need.

    Datasets that take keys get a `KeyedSampler`, which shuffles the training data anew each epoch. The dataset's own
    `collate` makes the batches if the model has a preprocessor of maetool. A warm-up counts iterations.
    `ResumableTrainLoop` passes the epoch to the sampler itself, so MMEngine's hook for that is removed. Validation has
    no metrics except those of its loop. `default_scope` is maetool.

    Sections of a wrong type stay as they are; `check_config` refuses them later.
    """
    cfg.setdefault("default_scope", "maetool")
    for name, loader in loaders_of(cfg):
        if isinstance(loader, Mapping):
            _fill_loader(loader, name == "train_dataloader", _takes_stacked(cfg))
    for scheduler in schedulers_in(cfg) if isinstance(cfg.get("param_scheduler"), list | tuple | Mapping) else ():
        if _is(scheduler, PARAM_SCHEDULERS, WarmupSchedule) and not {"epochs", "by_epoch"} & set(scheduler):
            scheduler.setdefault("convert_to_iter_based", True)
    if _is_resumable(cfg.get("train_cfg")) and isinstance(cfg.setdefault("default_hooks", {}), Mapping):
        cfg.default_hooks.setdefault("sampler_seed", None)
    for stage in ("val", "test"):
        if cfg.get(f"{stage}_dataloader") and cfg.get(f"{stage}_evaluator") is None:
            cfg[f"{stage}_evaluator"] = []


def _fill_loader(loader: Any, training: bool, stacked: bool) -> None:
    kind = _class_of(loader.get("dataset"), DATASETS)
    sampler = (
        "KeyedSampler" if kind is None or hasattr(kind, "key_of") else "DefaultSampler"
    )  # DefaultSampler gives plain indices
    if not loader.get("batch_sampler"):
        _fill(loader, "sampler", {"type": sampler, "shuffle": training})
    collate = getattr(kind, "collate", None)
    if collate and stacked:
        _fill(loader, "collate_fn", {"type": collate})


def _fill(section: Any, key: str, part: Mapping[str, Any]) -> None:
    """Fill in a part; if the config gives only some arguments, fill in the type and the other arguments."""
    given = section.get(key, {})
    if isinstance(given, Mapping) and "type" not in given:
        section[key] = {**part, **given}


def _takes_stacked(cfg: Config) -> bool:
    """Return whether the model takes a batch as one tensor; MMEngine's preprocessors also take lists, the default."""
    model = cfg.get("model")
    inside = model.get("data_preprocessor") if isinstance(model, Mapping) else None
    kind = _class_of(inside or cfg.get("data_preprocessor"), MODELS)
    return any(base.__module__.startswith("maetool.") for base in getattr(kind, "__mro__", ()))


def _is_resumable(loop: Any) -> bool:
    named = loop.get("type") if isinstance(loop, Mapping) else None
    return named == "ResumableTrainLoop" or (isinstance(loop, Mapping) and not named and loop.get("by_epoch") is None)


def _is(part: Any, parts: Registry, parent: type) -> bool:
    kind = _class_of(part, parts)
    return isinstance(kind, type) and issubclass(kind, parent)


def _class_of(part: Any, parts: Registry) -> Any:
    if not isinstance(part, Mapping):
        return type(part)
    with suppress(UsageError):  # the check of the part says what is wrong with it
        return find_part(part.get("type"), parts)
    return None
