"""The registries, and how a part is built from its config.

`MASKERS`, `ENCODERS`, `DECODERS`, `TARGETS` and `HEADS` are roots of scope `maetool`; the others are children of
MMEngine's, because a parent takes one child per scope.
"""

import difflib
import inspect
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any

import torch
from mmengine import registry as engine
from mmengine.logging import print_log

from .annotations import fits, hints_of
from .errors import UsageError, tells_of_killed_loader
from .plugins import describe_plugins, load_plugins

_LONGEST = 500  # characters of a reason
_INSTALLED_BY = {"mmcv": 'pip install "maetool[mmcv]"'}
_imports: ContextVar[bool] = ContextVar("imports", default=True)


@contextmanager
def no_imports() -> Iterator[None]:
    """Let names of parts be registered ones only: a dotted path is unknown, and nothing is imported to find a part."""
    token = _imports.set(False)
    try:
        yield
    finally:
        _imports.reset(token)


def build_part(cfg: Any, registry: "Registry", default_args: Mapping | None = None) -> Any:
    """Build the object that `cfg` describes, or return `cfg` if it is an object already.

    Args:
        cfg: a mapping with `type` (a registered name, a dotted path or a class) and the arguments of that class.
        registry: where the name is looked up.
        default_args: facts that fill missing arguments; those that the class does not take, annotates as another kind
            of value, or has a default of its own for are left out, see `Registry.asks_for`.

    Raises:
        UsageError: unknown type, unknown or missing argument; the message names the nearest ones.
    """
    if not isinstance(cfg, Mapping):
        return cfg
    cls = check_part(cfg, registry)
    args = {name: value for name, value in cfg.items() if name not in ("type", "_scope_")}
    accepted = inspect.signature(cls).parameters
    for name, value in (default_args or {}).items():
        if registry.asks_for(cls, name, value):  # else the class means something else by the name
            if name not in args and not is_own(cls):
                _tell_of_default(cls, name, value)
            args.setdefault(name, value)
    missing = [
        name
        for name, p in accepted.items()
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name not in args
    ]
    if missing:
        raise UsageError(f"{cls.__name__} needs the argument(s) {', '.join(missing)}: add them to {dict(cfg)}.")
    with refusals_told(cls.__name__):
        return cls(**args)


@contextmanager
def refusals_told(part: str, hint: str = "check its arguments") -> Iterator[None]:
    """Turn whatever is raised while a part is built, of values that it cannot be built with, into a UsageError.

    A lack of memory and a killed loading process are no matter of values, and stay as they are.

    Args:
        part: what is built, as the config calls it; the sentence also names the place in the code.
        hint: what to do.
    """
    try:
        yield
    except (UsageError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a stranger's constructor raises
        if tells_of_killed_loader(error):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        reason = " ".join(str(error).split()) or last.line or "no reason given"  # of a bare assertion its line
        raise UsageError(
            f"{part} cannot be built ({type(error).__name__}: {reason[:_LONGEST]}; {last.filename}, line "
            f"{last.lineno}): {hint}."
        ) from error


def _tell_of_default(cls: Any, name: str, fact: Any) -> None:
    default = inspect.signature(cls).parameters[name].default
    if isinstance(default, bool | int | float | str | tuple | list) and default != fact:
        print_log(f"{cls.__name__} gets {name}={fact!r} instead of its default {default!r}.", logger="current")


def is_own(cls: Any) -> bool:
    """Return whether the arguments of a class are maetool's: those of the constructor that it has or inherits."""
    owner = next((base for base in getattr(cls, "__mro__", ()) if "__init__" in vars(base)), cls)
    return owner.__module__.split(".")[0] == "maetool"


def check_part(cfg: Mapping, registry: engine.Registry) -> Any:
    """Return the class that `cfg` names, after checking that it takes the arguments given.

    Raises:
        UsageError: no `type`, an unknown type or an unknown argument.
    """
    if "type" not in cfg:
        raise UsageError(
            f"The {registry.name} config {dict(cfg)} has no `type`: add one of {', '.join(_known(registry))}."
        )
    cls = find_part(cfg["type"], registry)
    parameters = inspect.signature(cls).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return cls
    check_arguments(cls.__name__, [name for name in cfg if name not in ("type", "_scope_")], parameters)
    return cls


def check_arguments(owner: str, given: Iterable[str], taken: Collection[str]) -> None:
    """Check that every name `given` is one that is `taken`.

    Raises:
        UsageError: another one; the message gives near names.
    """
    for name in given:
        if name not in taken:
            raise UsageError(f"{owner} has no argument `{name}`{_near(name, taken)}; it takes {', '.join(taken)}.")


def find_part(name: Any, registry: engine.Registry) -> Any:
    """Return the class called `name` in `registry` or its parents, or found at the dotted path `name`.

    Inside of `no_imports` only a registered name is found.

    Raises:
        UsageError: nothing has that name; the message gives near names and the plugins that were or were not loaded.
    """
    if callable(name):
        return name
    if not isinstance(name, str) or not name.strip():
        found = "empty" if isinstance(name, str) else f"{name!r} and no name"
        raise UsageError(f"The `type` of a {registry.name} is {found}: write one of {', '.join(_known(registry))}.")
    load_plugins()
    found = _get(name, registry)
    if callable(found):  # and not a module of that name
        return found
    reason = _why_not_imported(name) if "." in name and _imports.get() else ""
    raise UsageError(
        f"There is no {registry.name} called `{name}`{reason}{_near(name, _known(registry))}. Known are "
        f"{', '.join(_known(registry))}, or the dotted path of a class, `package.module.Class`. {describe_plugins()}"
    )


def _get(name: str, registry: engine.Registry) -> Any:
    if _imports.get():
        try:
            return registry.get(name)
        except (RuntimeError, ImportError):  # MMEngine hides why a dotted path failed
            return None
    owner: engine.Registry | None = registry
    while owner is not None:
        owner.import_from_location()
        if name in owner.module_dict:
            return owner.module_dict[name]
        owner = owner.parent
    return None


def _why_not_imported(path: str) -> str:
    module, _, name = path.rpartition(".")
    try:
        return "" if hasattr(import_module(module), name) else f" (the module {module} has no {name})"
    except Exception as error:  # whatever a stranger's module raises
        package = module.partition(".")[0]
        missing = isinstance(error, ModuleNotFoundError) and error.name == package
        hint = f"; install it by `{_INSTALLED_BY[package]}`" if missing and package in _INSTALLED_BY else ""
        return f" ({type(error).__name__}: {error}{hint})"


def _known(registry: engine.Registry) -> list[str]:
    """Return the names that a registry finds: its own and those of its parents."""
    registry.import_from_location()
    return sorted({*registry.module_dict, *(_known(registry.parent) if registry.parent else ())})


def _near(name: str, names: Any) -> str:
    folded = {n.lower(): n for n in names}
    near = difflib.get_close_matches(name.lower(), list(folded), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(f'`{folded[n]}`' for n in near)}?)" if near else ""


class Registry(engine.Registry):
    """MMEngine's registry with `build_part`; a name that is taken already is an error that names both owners."""

    def __init__(self, name: str, parent: engine.Registry | None = None, locations: tuple[str, ...] = ()) -> None:
        super().__init__(name, build_func=build_part, parent=parent, scope="maetool", locations=list(locations))

    def asks_for(self, cls: Any, name: str, fact: Any) -> bool:
        """Return whether a class has an argument `name` that a fact fills where a config leaves it out.

        A class from outside of maetool may mean something else by the name: a default of its own other than None stays
        where no annotation says that it is of the fact's kind; but for loops and samplers, which MMEngine fills.
        """
        parameter, hint = inspect.signature(cls).parameters.get(name), hints_of(cls).get(name, Any)
        if parameter is None or not fits(fact, hint):
            return False
        open_to_all = parameter.default is None or parameter.default is parameter.empty
        return open_to_all or is_own(cls) or hint not in (Any, object) or self in (LOOPS, DATA_SAMPLERS)

    def _register_module(self, module: Any, module_name: Any = None, force: bool = False) -> None:
        for name in [module_name] if isinstance(module_name, str) else module_name or [module.__name__]:
            if not name.strip():
                raise UsageError(
                    f"{module.__module__}.{module.__qualname__} is registered as {self.name} with an empty name: give "
                    "it one, or leave the name out to take that of the class."
                )
            owner = self._module_dict.get(name)
            if owner is not None and not force and owner is not module:
                raise UsageError(
                    f"The {self.name} name `{name}` is taken twice, by {owner.__module__} and by {module.__module__}: "
                    "rename one of them."
                )
        super()._register_module(module=module, module_name=module_name, force=True)


MASKERS = Registry("masker", locations=("maetool.maskers",))
ENCODERS = Registry("encoder", locations=("maetool.encoders",))
DECODERS = Registry("decoder", locations=("maetool.decoders",))
TARGETS = Registry("target", locations=("maetool.targets",))
HEADS = Registry("head", locations=("maetool.heads",))

MODELS = Registry("model", parent=engine.MODELS, locations=("maetool.models", "maetool.backbones", "maetool.data"))
MODEL_WRAPPERS = Registry("model_wrapper", parent=engine.MODEL_WRAPPERS, locations=("maetool.engine",))
DATASETS = Registry("dataset", parent=engine.DATASETS, locations=("maetool.data",))
TRANSFORMS = Registry("transform", parent=engine.TRANSFORMS, locations=("maetool.data",))
DATA_SAMPLERS = Registry("data_sampler", parent=engine.DATA_SAMPLERS, locations=("maetool.data",))
HOOKS = Registry("hook", parent=engine.HOOKS, locations=("maetool.engine",))
LOOPS = Registry("loop", parent=engine.LOOPS, locations=("maetool.engine",))
LOG_PROCESSORS = Registry("log_processor", parent=engine.LOG_PROCESSORS, locations=("maetool.engine",))
OPTIM_WRAPPERS = Registry("optim_wrapper", parent=engine.OPTIM_WRAPPERS, locations=("maetool.engine",))
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    "optim_wrapper_constructor", parent=engine.OPTIM_WRAPPER_CONSTRUCTORS, locations=("maetool.engine",)
)
OPTIMIZERS = Registry("optimizer", parent=engine.OPTIMIZERS, locations=("maetool.engine",))
PARAM_SCHEDULERS = Registry("param_scheduler", parent=engine.PARAM_SCHEDULERS, locations=("maetool.engine",))
METRICS = Registry("metric", parent=engine.METRICS, locations=("maetool.evaluation",))
EVALUATORS = Registry("evaluator", parent=engine.EVALUATOR)
VISBACKENDS = Registry("vis_backend", parent=engine.VISBACKENDS)
VISUALIZERS = Registry("visualizer", parent=engine.VISUALIZERS, locations=("maetool.visualization",))

RUNNERS = Registry("runner", parent=engine.RUNNERS, locations=("maetool.engine",))
FUNCTIONS = Registry("function", parent=engine.FUNCTIONS, locations=("maetool.data",))

PART_REGISTRIES = (MASKERS, ENCODERS, DECODERS, TARGETS, HEADS)
_ALL = tuple(parts for parts in list(vars().values()) if isinstance(parts, Registry))


def classes_named(name: str) -> list[Any]:
    """Return the classes and functions that any registry, or a parent of one, has under a name."""
    matches = [parts.module_dict[name] for parts in _with_parents() if name in parts.module_dict]
    return list({id(part): part for part in matches}.values())


def registered_name(part: Any) -> str | None:
    """Return the name under which a class or function is registered; None of one that is not."""
    names = (name for parts in _with_parents() for name, other in parts.module_dict.items() if other is part)
    return next(names, None)


def _with_parents() -> Iterable[engine.Registry]:
    for registry in _ALL:
        registry.import_from_location()
    return [parts for registry in _ALL for parts in (registry, registry.parent) if parts is not None]
