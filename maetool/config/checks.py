"""Config validation before anything is built: names, arguments and types of values, at any depth.

The registry of a part follows from the section that holds it. Inside a part it follows from `part_registries` of its
class, which maps arguments to the registry of what they hold: one part, a list of parts, or a dict of names to parts.
Other arguments of a class are not looked up, whatever their names.
"""

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any

from mmengine import Config
from mmengine import registry as engine
from mmengine.dist import init_dist
from torch.distributed import init_process_group
from torch.utils.data import DataLoader

from maetool import registry
from maetool.annotations import check_value, check_values, parameters_of
from maetool.engine.optim.names import shared_settings
from maetool.errors import UsageError
from maetool.registry import check_arguments, find_part

from .facts import LOADERS, evaluation_loop, loaders_of, metrics_in, optimizers_in, parts_inside, schedulers_in
from .keys import LOADER_KEYS, check_keys
from .optimizers import check_names, check_schedules, is_by_part
from .values import check_ranges

# Sections that hold one part, a list of parts or names of parts: the registry, the default class, and keys that are
# allowed beside the part's own arguments.
_SECTIONS: dict[str, tuple[registry.Registry, str | None, tuple[str, ...]]] = {
    "model": (registry.MODELS, None, ()),
    "data_preprocessor": (registry.MODELS, None, ()),
    "model_wrapper_cfg": (registry.MODEL_WRAPPERS, "MMDistributedDataParallel", ()),
    "val_cfg": (registry.LOOPS, "ValLoop", ()),
    "test_cfg": (registry.LOOPS, "TestLoop", ()),
    "custom_hooks": (registry.HOOKS, None, ("priority",)),
    "log_processor": (registry.LOG_PROCESSORS, "LogProcessor", ()),
    "visualizer": (registry.VISUALIZERS, "Visualizer", ("vis_backends",)),
    "val_evaluator": (registry.METRICS, None, ()),
    "test_evaluator": (registry.METRICS, None, ()),
}
_LOADER = (*inspect.signature(DataLoader).parameters, "num_batch_per_epoch")
_LOADERS_INSIDE = ("dataloader", "bank_dataloader", "bank")  # of loops and evaluators
_DIST = (*inspect.signature(init_dist).parameters, *inspect.signature(init_process_group).parameters)
# The keys of sections that have no class.
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "randomness": ("seed", "diff_rank_seed", "deterministic"),
    "env_cfg": ("cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"),
    "env_cfg.mp_cfg": ("mp_start_method", "opencv_num_threads"),
    "env_cfg.dist_cfg": tuple(name for name in _DIST if name not in ("launcher", "kwargs")),
    "custom_imports": ("imports", "allow_failed_imports"),
    "auto_scale_lr": ("enable", "base_batch_size"),
}
# The class of a train_cfg without `type`, by its `by_epoch`.
_TRAIN_LOOPS = {None: "ResumableTrainLoop", True: "EpochBasedTrainLoop", False: "IterBasedTrainLoop"}
_PARAMWISE = {
    "DefaultOptimWrapperConstructor": (
        *("base_lr", "lr_mult", "decay_mult", "custom_keys", "bias_lr_mult", "bias_decay_mult", "norm_decay_mult"),
        *("flat_decay_mult", "dwconv_decay_mult", "dcn_offset_lr_mult", "bypass_duplicate"),
    )
}


def _above_zero(value: Any) -> bool:
    return value is None or (type(value) is int and value > 0)


def _log_level(value: Any) -> bool:
    return type(value) is int or isinstance(logging.getLevelName(value), int)


def _from_zero(value: Any) -> bool:
    return value is None or (type(value) is int and value >= 0)


def _is_dict(value: Any) -> bool:
    return isinstance(value, Mapping)


_A_DICT = ("a dict", _is_dict)
_LARGEST_SEED = 2**32 - 1  # NumPy's
_MOST_WORKERS = 4096  # torch would start any number of processes, one after the other


# Requirements beyond the annotation, for top-level values, loaders and `randomness`.
_VALUES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "base_lr": ("a number from 0", lambda value: value is None or (type(value) in (int, float) and value >= 0)),
    **dict.fromkeys(("effective_batch_size", "base_batch_size"), ("a whole number above 0", _above_zero)),
    # PyTorch's loader takes None, too, and then makes no batches.
    "batch_size": ("a whole number above 0", lambda value: value is not None and _above_zero(value)),
    "num_workers": (
        f'"auto" or a whole number from 0 to {_MOST_WORKERS:,}',
        lambda value: value == "auto" or (_from_zero(value) and (value or 0) <= _MOST_WORKERS),
    ),
    "seed": (
        f"a whole number from 0 to {_LARGEST_SEED:,}",
        lambda value: _from_zero(value) and (value or 0) <= _LARGEST_SEED,
    ),
    "custom_hooks": (
        "a list of hooks or a dict of names to hooks",
        lambda value: value is None or isinstance(value, list | tuple),
    ),
    "mp_cfg": _A_DICT,
    "dist_cfg": _A_DICT,
    "mp_start_method": ("fork, spawn or forkserver", lambda value: value in ("fork", "spawn", "forkserver")),
    "opencv_num_threads": ("a whole number from 0", _from_zero),
    "resource_limit": ("a whole number above 0", lambda value: type(value) is int and value > 0),
    **dict.fromkeys(
        ("drop_last", "deterministic", "diff_rank_seed", "cudnn_benchmark"),
        ("True or False", lambda value: isinstance(value, bool)),
    ),
    "collate_fn": ("a function, or a dict with its name as `type`", lambda value: callable(value) or _is_dict(value)),
    "log_level": ("the name of a level, such as INFO", _log_level),
}


def check_config(cfg: Config) -> None:
    """Check the config `cfg` at any depth: keys, the name and arguments of every part, and the types of values.

    Raises:
        UsageError: an unknown name or argument, or a value of a wrong type.
    """
    _check_numbers("", cfg)
    check_keys(cfg)
    _check_scope(cfg.get("default_scope"))
    for name, taken in _ARGUMENTS.items():
        section: Any = cfg
        for key in name.split("."):
            section = section.get(key) if isinstance(section, Config | Mapping) else None
        if isinstance(section, Mapping):
            check_arguments(name, section, taken)
            _check_numbers(name, section)
    for name, (parts, default, extras) in _SECTIONS.items():
        value = metrics_in(cfg.get(name), name) if name.endswith("_evaluator") else cfg.get(name)
        for part in _parts_in(name, value):
            part = evaluation_loop(part, str(default)) if name in ("val_cfg", "test_cfg") else part
            _check_part(_with_type(part, default), parts, extras)
    for name, hook in (cfg.get("default_hooks") or {}).items():
        _check_nested(f"default_hooks.{name}", hook, registry.HOOKS, ("priority",))
    for name in LOADERS:
        _check_loader(name, cfg.get(name))
    _check_train(cfg.get("train_cfg"))
    _check_optimizers(cfg.get("optim_wrapper"))
    schedules = cfg.get("param_scheduler") or []
    for group in schedules.values() if isinstance(schedules, Mapping) and "type" not in schedules else [schedules]:
        _parts_in("param_scheduler", group)
    check_schedules(cfg.get("optim_wrapper"), schedules)
    for scheduler in schedulers_in(cfg):
        _check_part(scheduler, registry.PARAM_SCHEDULERS, ("convert_to_iter_based", "by_epoch", "begin", "end"))
    visualizer = cfg.get("visualizer")
    for backend in _parts_in("visualizer.vis_backends", (visualizer or {}).get("vis_backends")):
        _check_part(backend, registry.VISBACKENDS)
    check_ranges(cfg)


def check_sections(cfg: Config) -> None:
    """Check the top-level keys of `cfg`, and that each loader has a dataset, which `--data` can replace.

    Raises:
        UsageError: an unknown key, a value of a wrong type, or a loader without a dataset.
    """
    check_keys(cfg)
    for name, loader in loaders_of(cfg):
        if isinstance(loader, Mapping):
            _check_dataset(name, loader)
            if isinstance(loader["dataset"], Mapping):
                find_part(loader["dataset"].get("type"), registry.DATASETS)


def _check_dataset(name: str, loader: Mapping[str, Any]) -> None:
    _parts_in(f"{name}.dataset", loader.get("dataset"))
    if loader.get("dataset") is None or isinstance(loader["dataset"], list | tuple):
        raise UsageError(f"{name} has no dataset: add dataset=dict(type=..., ...).")


def _parts_in(place: str, value: Any) -> list[Mapping[str, Any]]:
    """Return the configs of the parts at a place, which holds one part or a list; built objects are left out.

    Raises:
        UsageError: a number or a string, or a None or a list within the list.
    """
    several = isinstance(value, list | tuple)
    for number, part in enumerate(value) if several else [("", value)]:
        if isinstance(part, bool | int | float | str) or (several and isinstance(part, list | tuple | None)):
            where = f"{place}.{number}" if several else place
            raise UsageError(f"{where} is {part!r}, but must be a dict with the name of a part as `type`.")
    return [part for part in (value if several else [value]) if isinstance(part, Mapping)]


def _with_type(part: Mapping[str, Any], default: str | None) -> Mapping[str, Any]:
    return {"type": default, **part} if default else part


def _check_part(part: Mapping[str, Any], parts: engine.Registry, extras: Iterable[str] = ()) -> None:
    """Check the name and the arguments of a part, and of the parts in its `part_registries`."""
    arguments = {name: value for name, value in part.items() if name not in ("type", "_scope_", *extras)}
    cls = registry.check_part({"type": part["type"]} if "type" in part else part, parts)
    taken = parameters_of(cls)
    if taken is not None:
        check_arguments(cls.__name__, arguments, taken)
    inside = parts_inside(cls)
    for name, nested in inside.items():
        # A subclass from outside may mean something else by a name, such as pipeline="rgb".
        if registry.is_own(cls) or isinstance(arguments.get(name), Mapping | list | tuple):
            _check_nested(f"{cls.__name__}.{name}", arguments.get(name), nested)
    for name, value in arguments.items() if parts in (registry.LOOPS, registry.METRICS) else ():
        if name in _LOADERS_INSIDE:
            check_value(f"{cls.__name__}.{name}", value, dict[str, Any] | None)
        if isinstance(value, Mapping) and "dataset" in value:
            _check_loader(f"{cls.__name__}.{name}", value)
    # `check_ranges` refuses a part that is None, with its place in the config.
    given = {name: value for name, value in arguments.items() if value is not None or name not in inside}
    check_values(cls.__name__, cls, given)


def _check_nested(
    place: str, value: Any, parts: engine.Registry | Mapping[str, Any], extras: Iterable[str] = ()
) -> None:
    if isinstance(parts, Mapping):  # a dict of names to items, each with parts from several registries
        for key, item in value.items() if isinstance(value, Mapping) else ():
            for name, nested in parts.items() if isinstance(item, Mapping) else ():
                _check_nested(f"{place}.{key}.{name}", item.get(name), nested)
    elif isinstance(value, Mapping) and "type" not in value and all(_is_item(v, parts) for v in value.values()):
        for item in filter(_is_dict, value.values()):
            _check_part(item, parts, extras)
    else:
        for item in _parts_in(place, value):
            _check_part(item, parts, extras)


def _is_item(value: Any, parts: engine.Registry) -> bool:
    # None removes an evaluator of a base config.
    return isinstance(value, Mapping) or (value is None and parts is registry.METRICS)


def _check_loader(name: str, loader: Any) -> None:
    if not isinstance(loader, Mapping):
        return
    check_arguments(name, loader, _LOADER)
    _check_numbers(name, loader)
    _check_dataset(name, loader)
    for key in LOADER_KEYS.keys() & loader.keys():
        check_value(f"{name}.{key}", loader[key], LOADER_KEYS[key])
    kinds = {"dataset": registry.DATASETS, "collate_fn": registry.FUNCTIONS}
    kinds["sampler"] = registry.DATA_SAMPLERS
    for key, parts in kinds.items():
        _check_nested(f"{name}.{key}", loader.get(key), parts)


def _check_train(loop: Any) -> None:
    if isinstance(loop, Mapping):
        _check_part(
            _with_type(loop, _TRAIN_LOOPS[loop.get("by_epoch")]),
            registry.LOOPS,
            () if "type" in loop else ("by_epoch",),
        )


def _check_optimizers(wrapper: Any) -> None:
    """Check one optimiser wrapper, or several by name, and their constructors."""
    check_names(wrapper)
    by_part = is_by_part(wrapper)
    if isinstance(wrapper, Mapping) and wrapper.get("constructor"):
        find_part(wrapper["constructor"], registry.OPTIM_WRAPPER_CONSTRUCTORS)
    for place, one in optimizers_in(wrapper).items():
        name = one.get("constructor") or ("DecayGroupsConstructor" if by_part else "DefaultOptimWrapperConstructor")
        find_part(name, registry.OPTIM_WRAPPER_CONSTRUCTORS)
        if name in _PARAMWISE and isinstance(one.get("paramwise_cfg"), Mapping):
            check_arguments(f"{place}.paramwise_cfg", one["paramwise_cfg"], _PARAMWISE[name])
        whole = {"type": "OptimWrapper", **(shared_settings(wrapper) if by_part else {}), **one}
        extras = ("constructor", "paramwise_cfg", "optimizer", *(("parts",) if by_part else ()))
        _check_part(whole, registry.OPTIM_WRAPPERS, extras)
        if isinstance(one.get("optimizer"), list | tuple):
            raise UsageError(f"{place}.optimizer is {one['optimizer']!r}, but must be a dict.")
        _check_nested(f"{place}.optimizer", one.get("optimizer"), registry.OPTIMIZERS)


def _check_scope(scope: str | None) -> None:
    known = {"mmengine", *engine.MODELS.children}
    if scope is None or scope in known:
        return
    names = scope.split(".")
    if not all(map(str.isidentifier, names)) or find_spec(names[0]) is None:
        raise UsageError(f"default_scope is {scope!r}, but must be maetool, mmengine or an installed package.")


def _check_numbers(name: str, section: Any) -> None:
    for key, (expected, fits) in _VALUES.items():
        if key in section and not fits(section[key]):
            place = f"{name}.{key}" if name else key
            raise UsageError(f"{place} is {section[key]!r}, but must be {expected}.")
