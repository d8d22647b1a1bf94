"""The config of a run inside of its checkpoints: written as JSON, read without running or importing anything."""

import ast
import inspect
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mmengine import Config, ConfigDict

from maetool.errors import UsageError
from maetool.registry import registered_name

# The names of what JSON cannot tell: {"__tuple__": [...]}, {"__dict__": [[key, value], ...]}, {"__repr__": "..."}.
_TUPLE, _DICT, _REPR = "__tuple__", "__dict__", "__repr__"


def stored_facts(cfg: Config) -> dict[str, str]:
    """Return a config for `meta` of a checkpoint: `config`, which maetool reads, and `cfg`, the text that others do."""
    return {"cfg": cfg.pretty_text, "config": store_config(cfg)}


def store_config(cfg: Config) -> str:
    """Return a config as JSON text.

    Tuples and keys that are no strings come back as they were. A class or function becomes its registered name or its
    dotted path, any other object its `repr`.
    """
    return json.dumps({name: _encode(value) for name, value in cfg.items()})


def read_section(meta: Any, name: str) -> ConfigDict | None:
    """Return a section of the config in a checkpoint's `meta`, such as `model`; None where it has none.

    Args:
        meta: of the checkpoint, which may be a stranger's; anything else than a mapping holds no config.
        name: the key at the top of the config.
    """
    section = read_config(meta).get(name)
    return ConfigDict(section) if isinstance(section, dict) else None


def read_config(meta: Any) -> dict[str, Any]:
    """Return the config in a checkpoint's `meta`: `config`, JSON, or `cfg`, the text that other tools read.

    Of a text only assignments of literals and of calls of `dict` are returned.
    """
    if not isinstance(meta, Mapping):
        return {}
    if "config" not in meta:
        return read_text(meta.get("cfg", ""))
    with suppress(ValueError, TypeError, AttributeError, RecursionError):
        return {name: _decode(value) for name, value in json.loads(meta["config"]).items()}
    return {}


def _encode(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and not {_TUPLE, _DICT, _REPR} & set(value):
            return {key: _encode(item) for key, item in value.items()}
        return {_DICT: [[_encode(key), _encode(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_encode(item) for item in value]
        return items if isinstance(value, list) else {_TUPLE: items}
    if inspect.isclass(value) or inspect.isfunction(value):
        return registered_name(value) or f"{value.__module__}.{value.__qualname__}"
    return {_REPR: repr(value)}


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_TUPLE}:
        return tuple(_decode(item) for item in value[_TUPLE])
    if set(value) == {_DICT}:
        return {_decode(key): _decode(item) for key, item in value[_DICT]}
    if set(value) == {_REPR}:
        return value[_REPR]
    return {key: _decode(item) for key, item in value.items()}


def trusted(section: ConfigDict, source: Any) -> ConfigDict:
    """Return a section whose every `type` is a name that is registered, so that building it imports nothing.

    A dotted path is replaced by the name of the registered class that it leads to, where its module is imported.

    Args:
        section: of a checkpoint, which may be a stranger's.
        source: the file, for the message.

    Raises:
        UsageError: a `type` that would have to be imported, which could run whatever its module holds.
    """
    return ConfigDict({name: _trusted_value(name, value, source) for name, value in section.items()})


def _trusted_value(name: str, value: Any, source: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _trusted_value(key, item, source) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_trusted_value("", item, source) for item in value)
    if name != "type" or not isinstance(value, str) or "." not in value:
        return value
    known = known_class(value)
    if known is None:
        raise UsageError(
            f"{source} names {value}, which is not registered: pass a config that you trust with --config."
        )
    return known


def known_class(path: str) -> str | None:
    """Return the registered name of the class at a dotted path in a module that is imported; None of any other."""
    module, _, name = path.rpartition(".")
    return registered_name(vars(sys.modules[module]).get(name)) if module in sys.modules else None


def read_text(text: str) -> dict[str, Any]:
    """Return every variable of a config's text that holds values, and what it holds.

    Args:
        text: as older runs and other tools write it: assignments of literals and calls of `dict`.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, TypeError, RecursionError):
        return {}
    values = {}
    for node in body:
        if isinstance(node, ast.Assign) and len(names := _names(node)) == 1:
            with suppress(ValueError, TypeError):  # of what is no value, or no key of a dictionary
                values[names[0]] = _value(node.value)
    return values


def _names(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.List | ast.Tuple):
        items = [_value(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    return ast.literal_eval(node)
