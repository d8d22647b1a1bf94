"""Where each value of a config comes from: the file and line that state it, an option, or maetool itself."""

import ast
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from .config import change_config, complete_config, load_config
from .config_names import Key, flatten, name_of
from .config_paths import base_files, find_config, short_name
from .user_data import use_data

COMPUTED = "filled in by maetool"


def trace(path: str | Path, options: list[str] | None = None, data: str | None = None) -> list[tuple[str, Any, str]]:
    """Return name, value and origin of every value that a run would have, in the order of the config.

    Args:
        path: the config.
        options: as of --cfg-options.
        data: as of --data.

    Raises:
        UsageError: what `load_config`, `use_data` and `complete_config` raise.
    """
    cfg = load_config(path)
    stated = dict(stated_in(find_config(path)))
    origins = {key: _origin(key, stated) for key in flatten(cfg)}
    values = flatten(cfg)
    steps = [("--cfg-options", lambda: change_config(cfg, options or []))]
    steps += [("--data", lambda: data and use_data(cfg, data)), (COMPUTED, lambda: complete_config(cfg))]
    for name, change in steps:
        change()
        now = flatten(cfg)
        origins |= {key: name for key, value in now.items() if key not in values or values[key] != value}
        values = deepcopy(now)
    return [(name_of(key), value, origins[key]) for key, value in values.items()]


def stated_in(path: Path) -> Iterator[tuple[Key, str]]:
    """Yield the path of every key that a config file states, and its file and line; what it builds on comes first."""
    for base in base_files(path):
        yield from stated_in(base)
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for node in (node for node in body if isinstance(node, ast.Assign)):
        if _target(node) not in (None, "_base_"):
            yield from _keys(node.value, (_target(node),), path)


def _target(node: ast.Assign) -> str | None:
    return node.targets[0].id if isinstance(node.targets[0], ast.Name) else None


def _keys(node: ast.expr, key: Key, path: Path) -> Iterator[tuple[Key, str]]:
    yield key, f"{short_name(path)}:{node.lineno}"
    if isinstance(node, ast.Call):
        named = [(keyword.arg, keyword.value) for keyword in node.keywords]
    elif isinstance(node, ast.Dict):
        keys = [name.value if isinstance(name, ast.Constant) else None for name in node.keys]
        named = list(zip(keys, node.values, strict=True))
    elif isinstance(node, ast.List | ast.Tuple):
        named = list(enumerate(node.elts))
    else:
        named = []
    for name, value in named:
        if name is not None:
            yield from _keys(value, (*key, name), path)


def _origin(key: Key, stated: Mapping[Key, str]) -> str:
    """Return where a value is stated: itself, or what it is a part of, such as a list or a variable's value."""
    parts = (key[:length] for length in range(len(key), 0, -1))
    return next((stated[part] for part in parts if part in stated), COMPUTED)
