"""Configs from untrusted checkpoints: checked, and built without running code or taking unbounded memory.

A model description from a file may use registered parts only, may name no file and no address, and may not become much
larger than the weights in the same file. Every model description that is read from a file is built here.
"""

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from math import prod
from typing import Any

import torch
from mmengine import ConfigDict
from torch import Tensor
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from maetool.annotations import check_values
from maetool.errors import UsageError
from maetool.plugins import load_plugins
from maetool.registry import Registry, check_part, classes_named, no_imports, registered_name
from maetool.weights.addresses import is_address

_REMEDY = "pass a config that you trust with --config"
_BEGAN_WITH = ("checkpoint", "init_cfg")
_SCOPES = ("maetool", "mmengine")
_LINES = ("made_by",)  # free text, which nothing opens
# Arguments of parts of maetool, MMEngine and timm that locate weights.
_PLACES = (*_BEGAN_WITH, "checkpoint_path", "cache_dir", "url", "file", "bank_file")
# Whose transforms a config may name by their place in the library: they compute, and open nothing.
_TRANSFORMS = "torchvision.transforms.v2"
_DEEPEST = 100
# A part may have this many times the numbers and tensors of the file, plus a constant.
_TIMES, _MORE_NUMBERS, _MORE_TENSORS = 4, 2**24, 1000


def trusted(section: Mapping[str, Any], source: Any) -> ConfigDict:
    """Return a section in which every `type` is a registered name, so that building it imports nothing.

    A dotted path is replaced by the registered name of its class, if the module is already imported. Initial weights of
    parts (`checkpoint`, `init_cfg`) are left out, because the checkpoint has the weights.

    Args:
        section: a section of the config in a checkpoint, which may come from anyone.
        source: the file, for the message.

    Raises:
        UsageError: a `type` that is not a registered name; a `_scope_`, which would import a module and run its
            code; or a section that is nested too deeply.
    """
    load_plugins()
    return ConfigDict(_trusted_value("", section, source, 0))


def _trusted_value(name: Any, value: Any, source: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise UsageError(f"{source} describes a model that is nested more than {_DEEPEST} levels deep: {_REMEDY}.")
    if name == "type":
        return _trusted_name(value, source)
    if name == "_scope_" and value not in _SCOPES:
        raise UsageError(f"{source} names the scope {value!r}, which would be imported: {_REMEDY}.")
    if isinstance(value, Mapping):
        return {
            key: _trusted_value(key, item, source, depth + 1)
            for key, item in value.items()
            if key not in _BEGAN_WITH or not isinstance(item, str | Mapping)
        }
    if isinstance(value, list | tuple):
        return type(value)(_trusted_value("", item, source, depth + 1) for item in value)
    return value


def _trusted_name(value: Any, source: Any) -> str:
    if isinstance(value, str):
        if "." not in value and classes_named(value):
            return value
        known = known_class(value)
        if known is not None:
            return known
        if _is_transform(value):
            return value
    name = value if isinstance(value, str) and len(value) < 200 else repr(value)[:200]
    raise UsageError(f"{source} names {name}, which is not registered: {_REMEDY}.")


def _is_transform(path: str) -> bool:
    """Return whether a dotted path is that of a transform of torchvision, a library that maetool depends on."""
    module, _, name = path.rpartition(".")
    if module != _TRANSFORMS:
        return False
    transforms: Any = import_module(module)
    found = vars(transforms).get(name)
    return isinstance(found, type) and issubclass(found, transforms.Transform)


def known_class(path: str) -> str | None:
    """Return the registered name of the class at a dotted path, of maetool or of an imported module; None if unknown.

    Classes of maetool are recognised by their name alone, because their modules may have moved.
    """
    module, _, name = path.rpartition(".")
    if module.split(".")[0] == "maetool":
        own = [part for part in classes_named(name) if part.__module__.startswith("maetool.")]
        return registered_name(own[0]) if own else None
    return registered_name(vars(sys.modules[module]).get(name)) if module in sys.modules else None


def check_places(section: Mapping[str, Any], source: Any) -> None:
    """Check that an untrusted section names no file and no address.

    Args:
        section: part of a config that came with a file.
        source: what the message calls the file.

    Raises:
        UsageError: it names one.
    """
    for name, value in _items(section):
        text = isinstance(value, str) and name not in _LINES
        named = name in _PLACES or str(name).startswith("pretrained") or (name == "codebook" and text)
        if (named and value not in (None, False)) or (text and (is_address(value) or "/" in value or "\\" in value)):
            raise UsageError(
                f"{source} says {name}={str(value)[:80]!r}, but an untrusted file may not name other files or "
                f"addresses to open: {_REMEDY}."
            )


def check_stored(section: Mapping[str, Any], registry: Registry, source: Any) -> None:
    """Check a part without building it: files and addresses, its name, its arguments and their types.

    Args:
        section: what `trusted` returned, or a part of it.
        registry: of the part.
        source: the file, for the message.

    Raises:
        UsageError: it names a file or an address, is not in the registry, or has an unknown argument or a value of a
            wrong type.
    """
    check_places(section, source)
    with no_imports():
        cls = check_part(section, registry)
    check_values(cls.__name__, cls, {name: value for name, value in section.items() if name != "type"})


def _leaves(value: Any, name: Any = "") -> Iterator[tuple[Any, Any]]:
    """Yield the values of a section at any depth, and the name of each, or of the list that it is in."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, key)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item, name)
    else:
        yield name, value


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    for name, item in value.items() if isinstance(value, Mapping) else [("", item) for item in value]:
        yield name, item
        if isinstance(item, Mapping | list | tuple):
            yield from _items(item)


def build_trusted(
    section: Mapping[str, Any],
    registry: Registry,
    weights: Mapping[str, Tensor],
    source: Any,
    default_args: Mapping[str, Any] | None = None,
) -> Any:
    """Build a part as a checkpoint describes it.

    Args:
        section: what `trusted` returned, or a part of it.
        registry: of the part.
        weights: the tensors of the file, whose sizes bound those of the part.
        source: the file, for the message.
        default_args: see `maetool.registry.build_part`.

    Raises:
        UsageError: it names a file or an address, has values of a wrong type, or would become much larger than the
            weights.
    """
    check_stored(section, registry, source)
    bound = Bound(weights, source)
    bound.check_numbers(section)
    try:
        with no_imports(), bound:
            return registry.build(section, default_args=default_args)
    except UsageError:
        raise
    except Exception as error:  # constructors raise anything on values of a wrong type
        reason = str(error).strip().split("\n")[0][:200]
        raise UsageError(
            f"{source} describes a {section['type']} that cannot be built ({type(error).__name__}: {reason}): "
            f"{_REMEDY}."
        ) from error


class Bound(TorchDispatchMode):
    """Context manager: bounds the modules and tensors that are created by the size of the weights of a file.

    Args:
        weights: the tensors of the file.
        source: the file, for the message.
    """

    def __init__(self, weights: Mapping[str, Tensor], source: Any) -> None:
        super().__init__()
        self.source = source
        self.most = _TIMES * sum(value.numel() for value in weights.values()) + _MORE_NUMBERS
        self.tensors_left, self.numbers_left = _TIMES * len(weights) + _MORE_TENSORS, self.most
        self._hooks: list[Any] = []

    def __enter__(self) -> "Bound":
        registrations = (register_module_parameter_registration_hook, register_module_buffer_registration_hook)
        self._hooks = [register(self._count) for register in registrations]
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not func._schema.is_mutable:
            self._refuse_above(_size_of(func, args, kwargs))
        return func(*args, **kwargs)

    def check_numbers(self, section: Mapping[str, Any]) -> None:
        """Check sizes that tensor operations do not show: the number of blocks, and tables that NumPy computes.

        Args:
            section: config of a model that came with a file.

        Raises:
            UsageError: one is too large for the weights.
        """
        for name, value in _leaves(section):
            if type(value) is int:
                self._refuse_above(value if name not in ("depth", "depths") else value * self.most // self.tensors_left)
        widths = [value for name, value in _items(section) if name == "embed_dim" and type(value) is int]
        for part in (section, *(value for _, value in _items(section) if isinstance(value, Mapping))):
            self._refuse_above(_cells(part) * max(widths, default=1))

    def _count(self, module: Any, name: str, value: Tensor | None) -> None:
        if value is not None:
            self.tensors_left -= 1
            self.numbers_left -= value.numel()
            self._refuse_above(self.most + 1 if min(self.tensors_left, self.numbers_left) < 0 else 0)

    def _refuse_above(self, size: int) -> None:
        if size > self.most:
            raise UsageError(
                f"{self.source} describes a model that is much larger than its weights (more than "
                f"{self.most:,} numbers): {_REMEDY}."
            )


def _cells(part: Mapping[str, Any]) -> int:
    """Return the number of patches of a part, by its `grid`, `img_size` and `patch_size`; its class checks the rest."""
    cells = prod(_sides(part.get("grid")))
    images = prod(_sides(part.get("img_size")))
    return max(cells, images // max(1, prod(_sides(part.get("patch_size", 16)))))


def _sides(size: Any) -> list[int]:
    sides = size if isinstance(size, list | tuple) else [size] * 2
    return [side for side in sides if type(side) is int]


def _size_of(func: Any, args: Any, kwargs: Mapping[str, Any]) -> int:
    """Return the number of elements of the largest tensor that an operation would return, without running it."""
    there: dict[str, Any] = {"device": torch.device("meta")} if "device" in kwargs else {}
    if "generator" in kwargs:
        there["generator"] = None
    try:
        args, kwargs = tree_map_only(Tensor, lambda value: value.to("meta"), (args, {**kwargs, **there}))
        given = func(*args, **kwargs)
    except Exception:  # an operation that needs the values, whose result is no larger than they are
        return 0
    values = given if isinstance(given, list | tuple) else [given]
    return max((value.numel() for value in values if isinstance(value, Tensor)), default=0)
