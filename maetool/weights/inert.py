"""Reads checkpoints that hold objects beside their weights, such as a config of yacs, without any code of the objects.

Every object becomes an `Inert` mapping, empty or with its items: its class is neither imported nor called. Tensors are
read as `torch.load(weights_only=True)` reads them, by the same code and the same list of allowed functions.
"""

import _compat_pickle
import pickle
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import _weights_only_unpickler as torchs  # private, but the only unpickler with torch's list

# What stands in files that attack, and beside no published weights. torch itself refuses sys, os, posix and nt.
_ALARMING = {
    *("subprocess", "importlib", "runpy", "pty", "ctypes", "socket", "shutil", "code", "marshal", "pickle", "pdb"),
    *("io", "_io"),
}
_HARMLESS = {  # of Python's own functions and types
    *("getattr", "set", "frozenset", "slice", "complex", "range", "bytearray", "object", "type", "bytes", "list"),
    *("dict", "tuple", "int", "float", "str", "bool"),
}
_PICKLES = 5  # of the old format: number, version, system, content, keys of the storages
_MOST_NAMES = 1000


def _hashable(cls: Any) -> Any:
    cls.__hash__ = object.__hash__  # a member of an enum may be a key of a mapping
    return cls


@_hashable
class Inert(dict[Any, Any]):
    """Stands for an object of a class that is not imported; it keeps the items of a mapping, and nothing else."""

    def __new__(cls, *_: Any, **__: Any) -> "Inert":
        """Return an empty mapping, whatever the class is called with."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __setstate__(self, state: Any) -> None:
        """Keep no attributes."""

    def append(self, item: Any) -> None:
        """Drop the `item`: an inert list stays empty."""

    def extend(self, items: Any) -> None:
        """Drop the `items`: an inert list stays empty."""


class _Unpickler(torchs.Unpickler):
    """torch's, which lets placeholders have items as it lets plain containers."""

    def _check_set_item_target(self, opcode: str) -> None:
        if type(self.stack[-1]) is not Inert:
            super()._check_set_item_target(opcode)

    def _check_append_target(self, list_obj: Any) -> None:
        if type(list_obj) is not Inert:
            super()._check_append_target(list_obj)


def load_with_objects(path: Path, map_location: Any) -> tuple[Any, list[str]]:
    """Return the content of a checkpoint in which objects are `Inert`, and the names of their classes.

    Args:
        path: of the checkpoint.
        map_location: of its tensors, as in `torch.load`.

    Raises:
        pickle.UnpicklingError: a name that only an attack has.
    """
    allowed = {*torchs._get_allowed_globals(), *torchs._get_user_allowed_globals()}
    names = sorted(set(_globals_of(path)) - allowed)
    for name in names:
        module, _, last = name.rpartition(".")
        if module.partition(".")[0] in _ALARMING or (module == "builtins" and last not in _HARMLESS):
            raise pickle.UnpicklingError(f"Unsupported global: GLOBAL {name}")
    if len(names) > _MOST_NAMES:
        raise pickle.UnpicklingError(f"Unsupported global: GLOBAL {names[0]}")
    # torch takes a module; with one of its own choice it would import what a file names.
    reader: Any = SimpleNamespace(
        __name__=__name__, Unpickler=_Unpickler, load=lambda file, **_: _Unpickler(file).load()
    )
    with torch.serialization.safe_globals([(Inert, name) for name in names]):
        return torch.load(path, map_location=map_location, pickle_module=reader, weights_only=False), names


def _globals_of(path: Path) -> Iterator[str]:
    """Yield the names that the pickles of a checkpoint would import."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            record = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            with archive.open(record) as file:
                yield from _globals_in(file)
        return
    with path.open("rb") as file:
        for _ in range(_PICKLES):
            yield from _globals_in(file)


def _globals_in(file: Any) -> Iterator[str]:
    for opcode, value, _ in pickletools.genops(file):
        if opcode.name == "GLOBAL":
            module, name = str(value).split(" ", 1)
            module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
            yield f"{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}"
