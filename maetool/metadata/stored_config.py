"""The config of a run in its checkpoints: written as JSON, read without executing or importing anything."""

import ast
import inspect
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine import Config, ConfigDict

from maetool.errors import UsageError
from maetool.reading import read_file
from maetool.registry import registered_name

# Keys for what JSON cannot represent: {"__tuple__": [...]}, {"__dict__": [[key, value], ...]}, {"__repr__": "..."}.
_TUPLE, _DICT, _REPR = "__tuple__", "__dict__", "__repr__"


def stored_facts(cfg: Config) -> dict[str, str]:
    """Return a config for `meta` of a checkpoint: `config`, which maetool reads, and `cfg`, text for other tools."""
    return {"cfg": cfg.pretty_text, "config": store_config(cfg)}


def store_config(cfg: Config) -> str:
    """Return the config `cfg` as JSON text.

    Tuples and keys that are not strings survive the round trip. A class or function becomes its registered name or
    dotted path, any other object its `repr`.
    """
    return json.dumps({name: _encode(value) for name, value in cfg.items()})


def read_section(meta: Any, name: str) -> ConfigDict | None:
    """Return a section of the config in a checkpoint's `meta`, such as `model`; None if it has none.

    Args:
        meta: metadata of an untrusted checkpoint; anything but a mapping has no config.
        name: top-level key of the config.
    """
    section = read_config(meta).get(name)
    return ConfigDict(section) if isinstance(section, dict) else None


def read_config(meta: Any) -> dict[str, Any]:
    """Return the config in a checkpoint's `meta`: from `config`, JSON, or from `cfg`, text for other tools.

    From text only assignments of literals and of `dict` calls are returned.

    Raises:
        UsageError: it is not text, or is nested too deeply.
    """
    if not isinstance(meta, Mapping):
        return {}
    for name, read in (("config", _read_json), ("cfg", read_text)):
        text = meta.get(name)
        if text is None:
            continue
        if not isinstance(text, str):
            raise UsageError(
                f"The config in the checkpoint (meta.{name}) is a {type(text).__name__}, but must be text: save its "
                'weights alone, torch.save(torch.load(PATH)["state_dict"], NEW_PATH).'
            )
        try:
            return read(text)
        except (RecursionError, MemoryError) as error:  # raised by Python's parsers on deep nesting
            raise UsageError(
                f"The config in the checkpoint (meta.{name}) is nested too deeply to be read: save its weights alone, "
                'torch.save(torch.load(PATH)["state_dict"], NEW_PATH).'
            ) from error
    return {}


def _read_json(text: str) -> dict[str, Any]:
    with suppress(ValueError, TypeError, AttributeError):
        return {name: _decode(value) for name, value in json.loads(text).items()}
    return {}


def config_file_of(meta: Any, checkpoint: str | Path) -> Path | None:
    """Return the file with a checkpoint's config in its run's folder; None if there is none.

    Each start of a run writes its config to `TIME/vis_data/config.py`.

    Args:
        meta: the checkpoint's metadata.
        checkpoint: its path.
    """
    text = meta.get("cfg") if isinstance(meta, Mapping) else None
    for path in sorted(Path(checkpoint).parent.glob("*/vis_data/config.py")):
        with suppress(OSError, ValueError):
            if isinstance(text, str) and _text_of(path, 5 * len(text)) == text:
                return path
    return None


def _text_of(path: Path, most: int) -> str:
    return read_file(path, most).decode().replace("\r\n", "\n")


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


def read_text(text: str) -> dict[str, Any]:
    """Return the variables in a config's text that have literal values.

    Args:
        text: a config as older runs and other tools write it: assignments of literals and `dict` calls.

    Raises:
        RecursionError, MemoryError: it is nested too deeply.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return {}
    values = {}
    for node in body:
        if isinstance(node, ast.Assign) and len(names := _names(node)) == 1:
            with suppress(ValueError, TypeError):  # not a literal, or not a valid dict key
                values[names[0]] = _value(node.value)
    return values


def _names(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def _value(node: Any) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.List | ast.Tuple):
        items = [_value(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    return ast.literal_eval(node)
