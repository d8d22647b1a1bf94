"""What the text of a config says, read without running it: the text in a checkpoint may be a stranger's."""

import ast
from contextlib import suppress
from typing import Any

from mmengine import ConfigDict


def read_section(text: str, name: str) -> ConfigDict | None:
    """Return the section `name` of a config's text, such as `model`; None where it has none or holds more than values.

    Args:
        text: as a run writes it to its checkpoints: assignments of literals and calls of `dict`.
        name: the variable.
    """
    section = read_values(text).get(name)
    return ConfigDict(section) if isinstance(section, dict) else None


def read_values(text: str) -> dict[str, Any]:
    """Return every variable of a config's text that holds values, and what it holds; see `read_section`."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
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
