"""The origin of each config value: a file and line, an option, or maetool's completion."""

import ast
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from .files import trees_of
from .hooks import hook_names
from .load import complete_config, load_config, load_for, read_config
from .names import Key, flatten, name_of
from .paths import find_config, short_name

COMPUTED = "filled in by maetool"


def trace(path: str | Path, options: list[str] | None = None, data: str | None = None) -> list[tuple[str, Any, str]]:
    """Return name, value and origin of every config value of a run, in the order of the config.

    Args:
        path: the config.
        options: as of --cfg-options.
        data: as of --data.

    Raises:
        UsageError: as `load_for` and `complete_config`.
    """
    values = flatten(load_config(path))
    origins = _origins(path, values)
    cfg, _ = load_for(path, options or (), data)
    complete = deepcopy(cfg)
    complete_config(complete)
    paths = [tuple(option.split("=")[0].split(".")) for option in options or ()]
    typed = [path[:1] if path[0] == "custom_hooks" else path for path in paths]  # a hook's position is not its name
    for later, name in ((cfg, "--data"), (complete, COMPUTED)):
        now = flatten(later)
        changed = [key for key, value in now.items() if key not in values or values[key] != value]
        by_option = {key for key in now if any(tuple(map(str, key[: len(one)])) == one for one in typed)}
        origins |= {key: "--cfg-options" if key in by_option and later is cfg else name for key in changed}
        values = now
    return [(name_of(key), value, origins[key]) for key, value in values.items()]


def _origins(path: str | Path, values: Collection[Key]) -> dict[Key, str]:
    """Return the origin of every value of a loaded config, by its path."""
    origin_in_files = dict(stated_in(find_config(path)))
    written = read_config(path)
    names, in_files = hook_names(written), flatten(written)
    origins = {}
    for key in values:
        of_hook = key[0] == "custom_hooks" and names and len(key) > 1
        in_file = (key[0], names[int(key[1])], *key[2:]) if of_hook else key
        origins[key] = _origin(in_file, origin_in_files) if in_file in in_files else COMPUTED
    return origins


def stated_in(path: Path) -> Iterator[tuple[Key, str]]:
    """Yield the path of every key that a config file and its bases set, with file and line; bases come first.

    In pure Python style a file may also change imported values: `model.encoder.depth = 3`, `model.update(...)`.
    """
    seen: dict[Key, str] = {}
    for file, tree in trees_of(path):
        for node in tree.body:
            assigned: list[tuple[Key, ast.expr]] = []
            if isinstance(node, ast.Assign) and (key := _target(node.targets[0])) not in (None, ("_base_",)):
                assigned = [(key, node.value)]
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and (key := _changed(node.value)):
                assigned = [(key, value) for value in node.value.args or [node.value]]
            for key, value in assigned:
                origins = list(_keys(value, key, file, seen))
                seen.update(origins)
                yield from origins


def _target(node: ast.expr) -> Key | None:
    """Return the path that an assignment changes: a variable, or something inside one."""
    if isinstance(node, ast.Name):
        return (node.id,)
    if not isinstance(node, ast.Attribute | ast.Subscript):
        return None
    inner = _target(node.value)
    if isinstance(node, ast.Attribute):
        return inner and (*inner, node.attr)
    name = node.slice.value if isinstance(node.slice, ast.Constant) else None
    return (*inner, name) if inner and isinstance(name, str | int) else None


def _changed(call: ast.Call) -> Key | None:
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr not in ("update", "merge"):
        return None
    return _target(function.value)


def _keys(node: ast.expr, key: Key, path: Path, seen: Mapping[Key, str]) -> Iterator[tuple[Key, str]]:
    """Yield the paths inside a value, with their origins; `seen` has those of a base's variable, `_base_.encoder`."""
    yield key, f"{short_name(path)}:{node.lineno}"
    alias = _of_base(node)
    for known, where in seen.items() if alias else ():
        if len(known) > len(alias) and known[: len(alias)] == alias:
            yield key + known[len(alias) :], where
    named: list[tuple[Any, ast.expr]] = []
    if isinstance(node, ast.Call):
        named = [*((None, value) for value in node.args), *((keyword.arg, keyword.value) for keyword in node.keywords)]
    elif isinstance(node, ast.Dict):
        keys = [name.value if isinstance(name, ast.Constant) else None for name in node.keys]
        named = list(zip(keys, node.values, strict=True))
    elif isinstance(node, ast.List | ast.Tuple):
        named = list(enumerate(node.elts))
    for name, value in named:
        if name is not None:
            yield from _keys(value, (*key, name), path, seen)
        elif _of_base(value):  # dict(_base_.encoder, depth=6)
            yield from _keys(value, key, path, seen)


def _of_base(node: ast.expr) -> Key:
    """Return the path that `_base_.encoder` refers to; empty for any other expression."""
    place = _target(node) or ()
    return place[1:] if place[:1] == ("_base_",) else ()


def _origin(key: Key, origin_in_files: Mapping[Key, str]) -> str:
    """Return the origin of a value, or else of the list or dict that contains it."""
    parts = (key[:length] for length in range(len(key), 0, -1))
    return next((origin_in_files[part] for part in parts if part in origin_in_files), COMPUTED)
