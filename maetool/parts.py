"""Finds parts by name and builds them from configs, with readable errors."""

import difflib
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any

import torch
from mmengine import registry as engine

from maetool.messages import print_log

from .annotations import check_bounds, check_values, hints_of, taken_by
from .errors import UsageError, is_killed_loader
from .plugins import TABLES as TABLES  # which registries add to
from .plugins import describe_plugins, load_plugins

_LONGEST = 500  # characters of a reason
_INSTALLED_BY = {name: f'pip install "maetool[{name}]"' for name in ("albumentations", "kornia", "mmcv")}
_imports: ContextVar[bool] = ContextVar("imports", default=True)


@contextmanager
def no_imports() -> Iterator[None]:
    """Restrict names of parts to registered ones: dotted paths are unknown, and nothing is imported."""
    token = _imports.set(False)
    try:
        yield
    finally:
        _imports.reset(token)


def build_part(cfg: Any, registry: engine.Registry, default_args: Mapping[str, Any] | None = None) -> Any:
    """Build the object that `cfg` describes, or return `cfg` if it is an object already.

    Args:
        cfg: a mapping with `type` (a registered name, a dotted path or a class) and the arguments of that class.
        registry: where the name is looked up.
        default_args: values for missing arguments; those that the class does not take, annotates with another type,
            or has its own default for are left out, see `Registry.asks_for`.

    Raises:
        UsageError: unknown type, unknown or missing argument; the message suggests near names. For maetool's classes
            also a value of a wrong type or out of bounds.
    """
    if not isinstance(cfg, Mapping):
        return cfg
    cls = check_part(cfg, registry)
    args = {name: value for name, value in cfg.items() if name not in ("type", "_scope_")}
    if is_own(cls):  # annotations of other packages may be wrong
        check_values(cls.__name__, cls, args)
        check_bounds(cls.__name__, hints_of(cls), args)
    accepted = taken_by(cls)
    for name, value in (default_args or {}).items():
        if registry.asks_for(cls, name, value):  # otherwise the class uses the name for something else
            if name not in args and not is_own(cls):
                _log_replaced_default(cls, name, value)
            args.setdefault(name, value)
    missing = [
        name
        for name, p in accepted.items()
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name not in args
    ]
    if missing:
        raise UsageError(f"{cls.__name__} needs the argument(s) {', '.join(missing)}: add them to {dict(cfg)}.")
    with as_usage_error(cls.__name__):
        return cls(**args)


@contextmanager
def as_usage_error(part: str, hint: str = "check its arguments") -> Iterator[None]:
    """Turn any exception from building a part into a UsageError.

    Out-of-memory errors and killed loader workers are passed on unchanged.

    Args:
        part: the name of the part in the config; the message also names the source line.
        hint: what to do.

    Raises:
        UsageError: for any other exception.
    """
    try:
        yield
    except (UsageError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # constructors raise anything
        if is_killed_loader(error):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        reason = " ".join(str(error).split()) or last.line or "no reason given"  # for a bare assertion, its line
        raise UsageError(
            f"{part} cannot be built ({type(error).__name__}: {reason[:_LONGEST]}; {last.filename}, line "
            f"{last.lineno}): {hint}."
        ) from error


def _log_replaced_default(cls: Any, name: str, fact: Any) -> None:
    default = taken_by(cls)[name].default
    if isinstance(default, bool | int | float | str | tuple | list) and default != fact:
        print_log(f"{cls.__name__} gets {name}={fact!r} instead of its default {default!r}.")


def home_of(cls: Any) -> str:
    """Return the package that defines the constructor of the class `cls`, own or inherited."""
    owner = next((base for base in getattr(cls, "__mro__", ()) if "__init__" in vars(base)), cls)
    return owner.__module__.split(".")[0]


def is_own(cls: Any) -> bool:
    """Return whether the constructor of the class `cls` is maetool's."""
    return home_of(cls) == "maetool"


def check_part(cfg: Mapping[str, Any], registry: engine.Registry) -> Any:
    """Return the class of a part's config, after checking the names of its arguments.

    Args:
        cfg: with `type`.
        registry: where the type is looked up.

    Raises:
        UsageError: no `type`, an unknown type or an unknown argument.
    """
    if "type" not in cfg:
        raise UsageError(f"The {registry.name} config {dict(cfg)} has no `type`: add one of {_choices(registry)}.")
    cls = find_part(cfg["type"], registry)
    parameters = taken_by(cls)
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return cls
    check_arguments(cls.__name__, [name for name in cfg if name not in ("type", "_scope_")], parameters)
    return cls


def check_arguments(owner: str, names: Iterable[str], taken: Collection[str]) -> None:
    """Check that every name in `names` is in `taken`.

    Args:
        owner: class name, for the message.
        names: that a config gives.
        taken: that the class takes.

    Raises:
        UsageError: an unknown name; the message suggests near names.
    """
    for name in names:
        if name not in taken:
            near = _near(name, taken)
            swapped = "; `_delete_=True` beside `type` leaves out what a base config sets for another part" * (not near)
            raise UsageError(f"{owner} has no argument `{name}`{near}; it takes {', '.join(taken)}{swapped}.")


def find_part(name: Any, registry: engine.Registry) -> Any:
    """Return the class called `name` in `registry` or its parents, or at the dotted path `name`.

    Inside `no_imports` only registered names are known.

    Raises:
        UsageError: an unknown name; the message suggests near names and lists the plugins, loaded or not.
    """
    if callable(name):
        return name
    if not isinstance(name, str) or not name.strip():
        problem = "empty" if isinstance(name, str) else f"{name!r} and no name"
        raise UsageError(f"The `type` of a {registry.name} is {problem}: write one of {_choices(registry)}.")
    load_plugins()
    part = _get(name, registry)
    if callable(part):  # and not a module of that name
        return part
    reason = _why_not_imported(name) if "." in name and _imports.get() else ""
    raise UsageError(
        f"There is no {registry.name} called `{name}`{reason}{_near(name, _registered_names(registry))}. Known are "
        f"{_choices(registry)}, or the dotted path of a class, `package.module.Class`. {describe_plugins()}"
    )


def _get(name: str, registry: engine.Registry) -> Any:
    if _imports.get():
        try:
            return registry.get(name)
        except (RuntimeError, ImportError):  # MMEngine hides the reason for a failed import
            return None
    own = registry.find(name)
    return inherited(name, registry) if own is None else own


def inherited(name: str, registry: engine.Registry) -> Any:
    """Return the part that the parent of a registry has under a name, or None."""
    if registry.parent is None:
        return None
    registry.parent.import_from_location()
    return registry.parent.module_dict.get(name)


def _why_not_imported(path: str) -> str:
    module, _, name = path.rpartition(".")
    try:
        return "" if hasattr(import_module(module), name) else f" (the module {module} has no {name})"
    except Exception as error:  # modules raise anything
        package = module.partition(".")[0]
        missing = isinstance(error, ModuleNotFoundError) and error.name == package
        hint = f"; install it by `{_INSTALLED_BY[package]}`" if missing and package in _INSTALLED_BY else ""
        return f" ({type(error).__name__}: {error}{hint})"


def _choices(registry: engine.Registry) -> str:
    return ", ".join(_registered_names(registry))


def _registered_names(registry: engine.Registry) -> list[str]:
    """Return the names that a registry finds: its own and those of its parents."""
    registry.import_from_location()
    return sorted({*registry.module_dict, *(_registered_names(registry.parent) if registry.parent else ())})


def _near(name: str, names: Any) -> str:
    folded = {n.lower(): n for n in names}
    near = difflib.get_close_matches(name.lower(), list(folded), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(f'`{folded[n]}`' for n in near)}?)" if near else ""
