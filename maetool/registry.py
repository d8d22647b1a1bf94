"""The registries.

`MASKERS`, `STEMS`, `ENCODERS`, `DECODERS`, `TARGETS`, `HEADS`, `TEACHERS`, `CORRUPTIONS` and `SOURCES` are roots of
scope `maetool`; the others are children of MMEngine's, because a parent takes one child per scope.
"""

from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

from mmengine import registry as engine

from .annotations import fits, hints_of, taken_by
from .errors import UsageError
from .parts import TABLES, inherited
from .parts import as_usage_error as as_usage_error
from .parts import build_part as build_part  # also the names that users of registries look for here
from .parts import check_arguments as check_arguments
from .parts import check_part as check_part
from .parts import find_part as find_part
from .parts import home_of as home_of
from .parts import is_own as is_own
from .parts import no_imports as no_imports


class Registry(engine.Registry):
    """MMEngine's registry with `build_part`; a name that is taken already is an error that names both owners."""

    def __init__(self, name: str, parent: engine.Registry | None = None, locations: tuple[str, ...] = ()) -> None:
        super().__init__(name, build_func=build_part, parent=parent, scope="maetool", locations=list(locations))
        TABLES.append(self._module_dict)

    def find(self, name: str) -> Any:
        """Return the part registered under a name, or None; of maetool only the module that defines it is imported."""
        if name not in self._module_dict and name in self._places:
            getattr(self._places[name], name)  # which imports its module, see `maetool._lazy`
        return self._module_dict.get(name)

    @cached_property
    def _places(self) -> dict[str, Any]:
        """The packages of maetool that offer a name; a check of a config asks for thousands."""
        packages = [import_module(place) for place in reversed(self._locations)]
        return {name: package for package in packages for name in getattr(package, "__all__", ())}

    def get(self, key: str) -> Any:
        """Return the part of a name, scope and name, or dotted path (see MMEngine), importing as little as possible."""
        part = self.find(key)
        if part is None and self.parent is not None:
            part = self.parent.module_dict.get(key)
        return super().get(key) if part is None else part

    def parts(self) -> Mapping[str, Any]:
        """Return every registered part by its name."""
        self.import_from_location()
        return self.module_dict

    def import_from_location(self) -> None:
        """Import what registers parts: the locations, and every module below those that are packages."""
        if not self._imported:
            for place in self._locations:
                for module in walk_packages(getattr(import_module(place), "__path__", ()), f"{place}."):
                    import_module(module.name)
        super().import_from_location()

    def asks_for(self, cls: Any, name: str, fact: Any) -> bool:
        """Return whether the class `cls` has an argument `name` that `fact` fills where a config leaves it out.

        A class from outside of maetool may mean something else by the name: a default of its own other than None stays
        where no annotation says that it is of the fact's kind; but for loops and samplers, which MMEngine fills.
        """
        parameter, hint = taken_by(cls).get(name), hints_of(cls).get(name, Any)
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
            owner = self._module_dict.get(name) if module.__module__.startswith("maetool.") else self.find(name)
            if owner is not None and not force and owner is not module:
                raise UsageError(
                    f"The {self.name} name `{name}` is taken twice, by {owner.__module__} and by {module.__module__}: "
                    "rename one of them."
                )
        super()._register_module(module=module, module_name=module_name, force=True)


MASKERS = Registry("masker", locations=("maetool.maskers",))
STEMS = Registry("stem", locations=("maetool.stems",))
ENCODERS = Registry("encoder", locations=("maetool.encoders",))
DECODERS = Registry("decoder", locations=("maetool.decoders",))
TARGETS = Registry("target", locations=("maetool.targets",))
HEADS = Registry("head", locations=("maetool.heads",))
TEACHERS = Registry("teacher", locations=("maetool.teachers",))
CORRUPTIONS = Registry("corruption", locations=("maetool.corruptions",))
SOURCES = Registry("source", locations=("maetool.data.sources",))

MODELS = Registry(
    "model",
    parent=engine.MODELS,
    locations=("maetool.models", "maetool.backbones", "maetool.heads", "maetool.data.transforms"),
)
MODEL_WRAPPERS = Registry("model_wrapper", parent=engine.MODEL_WRAPPERS)
DATASETS = Registry("dataset", parent=engine.DATASETS, locations=("maetool.data.datasets", "maetool.data.drawn"))
TRANSFORMS = Registry("transform", parent=engine.TRANSFORMS, locations=("maetool.data.transforms",))
DATA_SAMPLERS = Registry(
    "data_sampler", parent=engine.DATA_SAMPLERS, locations=("maetool.data.samplers", "maetool.data.balanced_sampler")
)
HOOKS = Registry("hook", parent=engine.HOOKS, locations=("maetool.engine.hooks",))
LOOPS = Registry(
    "loop",
    parent=engine.LOOPS,
    locations=("maetool.engine.train_loop", "maetool.evaluation"),
)
LOG_PROCESSORS = Registry("log_processor", parent=engine.LOG_PROCESSORS, locations=("maetool.engine.log_processor",))
OPTIM_WRAPPERS = Registry("optim_wrapper", parent=engine.OPTIM_WRAPPERS, locations=("maetool.engine.optim",))
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    "optim_wrapper_constructor", parent=engine.OPTIM_WRAPPER_CONSTRUCTORS, locations=("maetool.engine.optim",)
)
OPTIMIZERS = Registry("optimizer", parent=engine.OPTIMIZERS, locations=("maetool.engine.optim",))
PARAM_SCHEDULERS = Registry("param_scheduler", parent=engine.PARAM_SCHEDULERS, locations=("maetool.engine.optim",))
METRICS = Registry("metric", parent=engine.METRICS, locations=("maetool.evaluation",))
EVALUATORS = Registry("evaluator", parent=engine.EVALUATOR)
VISBACKENDS = Registry("vis_backend", parent=engine.VISBACKENDS)
VISUALIZERS = Registry("visualizer", parent=engine.VISUALIZERS, locations=("maetool.visualization",))

RUNNERS = Registry("runner", parent=engine.RUNNERS, locations=("maetool.engine.runner",))
FUNCTIONS = Registry("function", parent=engine.FUNCTIONS, locations=("maetool.data.collate", "maetool.data.datasets"))

# Plugins register in those of MMEngine, too.
TABLES += [parts.module_dict for parts in list(vars(engine).values()) if isinstance(parts, engine.Registry)]

PART_REGISTRIES = (MASKERS, STEMS, ENCODERS, DECODERS, TARGETS, HEADS, TEACHERS, CORRUPTIONS)
_ALL = tuple(parts for parts in list(vars().values()) if isinstance(parts, Registry))


def classes_named(name: str) -> list[Any]:
    """Return the classes and functions that any registry, or a parent of one, has under a name."""
    matches = [match for parts in _ALL for match in (parts.find(name), inherited(name, parts))]
    return list({id(part): part for part in matches if part is not None}.values())


def registered_name(part: Any) -> str | None:
    """Return the name under which `part`, a class or function, is registered; None if it is not."""
    for parts in (parts for own in _ALL for parts in (own, own.parent) if parts is not None):
        if not isinstance(parts, Registry):
            parts.import_from_location()  # whoever has a part of maetool has imported its module
        for name, other in parts.module_dict.items():
            if other is part:
                return name
    return None
