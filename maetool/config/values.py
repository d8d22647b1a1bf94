"""Checks of config values beyond their type: ranges, references to names, dataset wrappers."""

import difflib
import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine import Config
from torch import nn

from maetool.annotations import Count, FromZero, check_bounds, hints_of, parameters_of
from maetool.data.datasets.base import ImageDataset
from maetool.errors import UsageError
from maetool.messages import print_log
from maetool.registry import DATASETS, RUNNERS, check_arguments, find_part, home_of, is_own

from .facts import classes_of, datasets_in, loaders_of, optimizers_in, parts_inside

_CUSTOM = ("lr_mult", "decay_mult")  # the options of a custom key that MMEngine's constructor reads
_HOOKS = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")  # MMEngine's names
# Bounds of arguments of MMEngine's classes, whose annotations have none.
_MMENGINE_BOUNDS: dict[str, Any] = {
    "window_size": Count,
    "accumulative_counts": Count,
    **dict.fromkeys(("max_epochs", "max_iters"), FromZero),  # with 0 epochs only the evaluation runs
}


def check_ranges(cfg: Config) -> None:
    """Check the runner, the initial weights, rates and sizes of the config `cfg`.

    Raises:
        UsageError: an unregistered runner, a number out of range, an unknown option of a custom key, or one of
            MMEngine's wrappers around a dataset of maetool.
    """
    if cfg.get("runner_type") is not None:
        find_part(cfg.runner_type, RUNNERS)
    share = cfg.get("init_share", 0.99)
    _expect("init_share", share, 0 <= share <= 1, "a number from 0 to 1")
    _check_rates(cfg)
    for place, part in _parts(cfg, ""):
        _check_bounds(place, part)
        _check_inside(place, part)
    for name, loader in loaders_of(cfg):
        _check_wrapped(name, loader.get("dataset"))
    for name in cfg.get("default_hooks") or ():
        near = difflib.get_close_matches(name, _HOOKS, 1, 0.8)
        if near and name not in _HOOKS:
            print_log(
                f"default_hooks.{name} is added as a separate hook, beside `{near[0]}`: is the name misspelt?",
                30,
            )


def check_training(cfg: Config) -> None:
    """Check that `cfg` has either all three sections that training needs, or none.

    Raises:
        UsageError: a section is missing although another is present.
    """
    sections = {name: cfg.get(name) is not None for name in ("train_dataloader", "train_cfg", "optim_wrapper")}
    missing = [name for name, present in sections.items() if not present]
    if 0 < len(missing) < len(sections):
        raise UsageError(
            f"The config has no {' and no '.join(missing)}: training needs {', '.join(sections)}: add what is missing."
        )


def _expect(place: str, value: Any, right: bool, expected: str) -> None:
    if not right:
        raise UsageError(f"{place} is {value!r}, but must be {expected}.")


def _check_rates(cfg: Config) -> None:
    base = cfg.get("base_lr")
    _expect("base_lr", base, not isinstance(base, float) or math.isfinite(base), "a finite number")
    for place, wrapper in optimizers_in(cfg.get("optim_wrapper")).items():
        given = wrapper.get("optimizer", {})
        _expect(f"{place}.optimizer", given, given is not None, "a dict with the name of an optimiser as `type`")
        for name, value in given.items() if isinstance(given, Mapping) else ():
            finite = not isinstance(value, float) or math.isfinite(value)
            _expect(f"{place}.optimizer.{name}", value, finite, "a finite number")
        paramwise = wrapper.get("paramwise_cfg")
        _expect(f"{place}.paramwise_cfg", paramwise, isinstance(paramwise, Mapping | None), "a dict or None")
        keys = (paramwise or {}).get("custom_keys", {})
        _expect(f"{place}.paramwise_cfg.custom_keys", keys, isinstance(keys, Mapping), "a dict")
        for name, value in _custom_keys(paramwise).items():
            inside = f"{place}.paramwise_cfg.custom_keys.{name}"
            _expect(inside, value, isinstance(value, Mapping), f"a dict with {' or '.join(_CUSTOM)}")
            check_arguments(inside, value, _CUSTOM)


def _custom_keys(paramwise: Any) -> Mapping[str, Any]:
    keys = paramwise.get("custom_keys") if isinstance(paramwise, Mapping) else None
    return keys if isinstance(keys, Mapping) else {}


def tell_unmatched(wrapper: Any, model: nn.Module) -> list[str]:
    """Return sentences on custom keys of an optimiser wrapper that match no parameter name of the model."""
    names = [name for name, _ in getattr(model, "module", model).named_parameters()]
    places = {place: _custom_keys(one.get("paramwise_cfg")) for place, one in optimizers_in(wrapper).items()}
    return [
        f"{place}.paramwise_cfg.custom_keys has `{key}`, which matches no parameter name and has no effect; "
        f"parameter names begin with {', '.join(sorted({name.split('.')[0] for name in names}))}."
        for place, keys in places.items()
        for key in keys
        if not any(key in name for name in names)
    ]


def _parts(node: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(node, Config | Mapping) and ("type" in node or place == "log_processor"):
        yield place, node
    items: Any = node.items() if isinstance(node, Config | Mapping) else ()
    items = enumerate(node) if isinstance(node, list | tuple) else items
    for name, item in items:
        yield from _parts(item, f"{place}.{name}".lstrip("."))


def _check_bounds(place: str, part: Mapping[str, Any]) -> None:
    """Check the numbers of a part against the bounds in the annotations of its class."""
    classes: list[Any] = [cls for cls in classes_of(part.get("type", "LogProcessor"))[:1] if inspect.isclass(cls)]
    for cls in classes:
        check_bounds(place, {**hints_of(cls), **(_MMENGINE_BOUNDS if home_of(cls) == "mmengine" else {})}, part)


def _check_inside(place: str, part: Mapping[str, Any]) -> None:
    """Check that no required part is None, and that a dict of parts by name contains dicts."""
    for cls in classes_of(part.get("type"))[:1]:
        parameters = parameters_of(cls) or {}
        for name, parts in parts_inside(cls).items():
            value, item = part.get(name, ()), f"{place}.{name}"
            needed = is_own(cls) and name in parameters and parameters[name].default is parameters[name].empty
            _expect(item, value, not needed or value is not None, "a dict with the name of a part as `type`")
            for key, inner in value.items() if isinstance(parts, Mapping) and isinstance(value, Mapping) else ():
                _expect(f"{item}.{key}", inner, isinstance(inner, Mapping), f"a dict of {', '.join(parts)}")


def _check_wrapped(name: str, dataset: Any) -> None:
    for each in datasets_in(dataset):
        inner = find_part(each["type"], DATASETS) if each is not dataset and isinstance(each, Mapping) else None
        if isinstance(inner, type) and issubclass(inner, ImageDataset):
            raise UsageError(
                f"{name}.dataset is a {dataset['type']} around a {inner.__name__}, which needs the keys of its "
                "crops from the sampler and cannot be wrapped: list the images of several folders in one text list "
                "or table, and repeat images by more epochs or by `repeats` of KeyedSampler."
            )
