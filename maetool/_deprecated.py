"""Names that moved: the old place goes on for one minor version, with a warning that names the new one."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def moved(module: str, names: Mapping[str, str], removed_in: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module whose names moved.

    At the end of the old module: `__getattr__ = moved(__name__, {"Old": "maetool.room.New"}, "0.3.0")`.

    Args:
        module: the old module's own name.
        names: old name to the full path of the new one.
        removed_in: the version that no longer has the old names.
    """

    def getattr_of_module(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(
            f"{module}.{name} is now {names[name]}; maetool {removed_in} removes the old name.",
            DeprecationWarning,
            stacklevel=2,
        )
        place, _, new = names[name].rpartition(".")
        return getattr(import_module(place), new)

    return getattr_of_module
