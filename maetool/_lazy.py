"""Packages that import what they offer when it is asked for, so that one part of a room does not load all others."""

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def lazily(package: str, places: Mapping[str, Collection[str]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package whose names are imported at their first use (PEP 562).

    Args:
        package: its `__name__`.
        places: module below the package, such as "datasets.coco", to the names that it defines.
    """
    module_of = {name: f"{package}.{module}" for module, names in places.items() for name in names}

    def getattr_of_package(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(module_of[name]), name)

    return getattr_of_package


def is_installed(package: str) -> bool:
    """Return whether a `package` can be imported, by its name in Python, without importing it.

    A folder of that name in the current one, such as wandb writes, is no package.
    """
    spec = find_spec(package)
    return spec is not None and spec.origin is not None
