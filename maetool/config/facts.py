"""Facts about the parts of a config: their classes, arguments and defaults."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from mmengine import Config
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.evaluator import Evaluator
from mmengine.utils import get_object_from_string

from maetool import registry
from maetool._deprecated import moved
from maetool.annotations import taken_by
from maetool.engine.optim.names import optimizers_in as optimizers_in
from maetool.errors import UsageError
from maetool.plugins import load_plugins
from maetool.registry import classes_named, find_part

_WRAPPERS = {
    ConcatDataset: {"datasets": registry.DATASETS},
    RepeatDataset: {"dataset": registry.DATASETS},
    ClassBalancedDataset: {"dataset": registry.DATASETS},
}
LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
CLASS_TASKS = ("classification", "segmentation", "detection")
TASKS = ("pretraining", *CLASS_TASKS, "regression")  # the tasks of maetool's models


def loaders_of(cfg: Config) -> Iterator[tuple[str, Any]]:
    """Yield name and config of every loader in `cfg`."""
    for name in LOADERS:
        if cfg.get(name):
            yield name, cfg[name]
    for name in ("val_cfg", "test_cfg"):
        yield from _loaders_in(name, cfg.get(name))


def _loaders_in(name: str, loop: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and config of every loader of a validation loop: its own, and those of its evaluators."""
    evaluators = loop.get("evaluators") if isinstance(loop, Mapping) else None
    evaluators = evaluators if isinstance(evaluators, Mapping) else {}
    places = {name: loop, **{f"{name}.evaluators.{key}": each for key, each in evaluators.items()}}
    for place, part in places.items():
        for key, value in part.items() if isinstance(part, Mapping) else ():
            if isinstance(value, Mapping) and "dataset" in value:
                yield f"{place}.{key}", value


def evaluation_loop(loop: Any, default: str) -> Any:
    """Return the config of a loop with its type; a `ValLoop` without evaluators is MMEngine's.

    Args:
        loop: `val_cfg` or `test_cfg`; what is no mapping comes back as it is.
        default: the type of a loop that names none.
    """
    if not isinstance(loop, Mapping):
        return loop
    loop = {"type": default, **loop}
    return {**loop, "type": "mmengine.ValLoop"} if loop["type"] == "ValLoop" and "evaluators" not in loop else loop


def parts_inside(cls: Any) -> Mapping[str, Any]:
    """Return the arguments of the class `cls` that hold parts, each with its registry; see `part_registries`."""
    return _WRAPPERS.get(cls) or getattr(cls, "part_registries", {})


def datasets_in(dataset: Any) -> Iterator[Any]:
    """Yield the dataset of a config, or the datasets inside MMEngine's wrappers (repeated, concatenated)."""
    inside = _WRAPPERS.get(find_part(dataset["type"], registry.DATASETS)) if isinstance(dataset, Mapping) else None
    for name in inside or ():
        inner = dataset.get(name) or ()
        for each in [inner] if isinstance(inner, Mapping) else inner:
            yield from datasets_in(each)
    if not inside:
        yield dataset


def schedulers_in(cfg: Config) -> list[Any]:
    """Return the configs of all schedules of `cfg`, which has one, a list, or a dict with those of each optimiser."""
    configs = cfg.get("param_scheduler") or []
    if isinstance(configs, Mapping):
        configs = [configs] if "type" in configs else list(configs.values())
    groups = [each if isinstance(each, list | tuple) else [each] for each in configs]
    return [scheduler for group in groups for scheduler in group if isinstance(scheduler, Mapping)]


def metrics_in(evaluator: Any, name: str = "val_evaluator") -> Any:
    """Return the metrics of an evaluator's config, which may be `dict(type="Evaluator", metrics=...)`.

    Args:
        evaluator: its config, a list of metrics, or one metric.
        name: key of the config, for messages.

    Raises:
        UsageError: an evaluator of another type, or with another argument.
    """
    if not isinstance(evaluator, Mapping) or "metrics" not in evaluator:
        return evaluator
    if evaluator.get("type", "Evaluator") not in ("Evaluator", Evaluator):
        raise UsageError(
            f"{name}.type is {evaluator['type']!r}, but must be Evaluator: register its metrics in METRICS."
        )
    if unknown := [key for key in evaluator if key not in ("type", "metrics")]:
        raise UsageError(f"{name} has no argument `{unknown[0]}`: an Evaluator takes metrics alone.")
    return evaluator["metrics"]


def argument_of(part: Mapping[str, Any], parts: registry.Registry, name: str) -> Any:
    """Return the value of an argument: from the config, else the class's default; None if it has no such argument.

    Args:
        part: config of the part, with its `type`.
        parts: registry of its type.
        name: of the argument.
    """
    parameters = taken_by(find_part(part["type"], parts))
    default = parameters[name].default if name in parameters else None
    return part.get(name, None if default is inspect.Parameter.empty else default)


def takes(part: Mapping[str, Any], parts: registry.Registry, argument: str) -> bool:
    """Return whether the class that a part's config names has an argument of the name `argument`.

    Args:
        part: config of the part, with its `type`.
        parts: registry of its type.
        argument: its name.
    """
    return argument in taken_by(find_part(part["type"], parts))


def task_of(model: Any) -> str | None:
    """Return the `task` attribute of a model or its class: what it is trained for; None if it has none.

    maetool knows those of `TASKS`; a plugin may have others.
    """
    task = getattr(model, "task", None)
    return task if isinstance(task, str) else None


def has_classes(model: Any) -> bool:
    """Return whether a model predicts classes: judged by its task, or without one by whether it has `num_classes`."""
    task = task_of(model)
    return hasattr(model, "num_classes") if task is None else task in CLASS_TASKS


def task_in(section: Mapping[str, Any]) -> str | None:
    """Return the task of the model whose config is `section`, see `task_of`."""
    return task_of(find_part(section["type"], registry.MODELS))


def classes_of(name: Any) -> list[Any]:
    """Return the classes that a `type` may mean: those of its name in any registry, or the one at its dotted path."""
    if not isinstance(name, str):
        return [name] if callable(name) else []
    load_plugins()
    matches = classes_named(name)
    if not matches and "." in name:
        with suppress(Exception):  # the check of the part says what is wrong with it
            matches = [get_object_from_string(name)]
    return [part for part in matches if callable(part)]


__getattr__ = moved(__name__, {"stated": "maetool.config.facts.argument_of"}, "0.3.0")
