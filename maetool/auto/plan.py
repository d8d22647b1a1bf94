"""A plan: what is set in a config, and why, written as a config file that `maetool train` runs unchanged."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import wrap
from typing import Any

from maetool.writing import write_text

_WIDTH = 112


@dataclass(frozen=True)
class Choice:
    """A value of a config and its reason.

    Attributes:
        key: `section.key.key`, as for --cfg-options.
        value: numbers, texts, None, lists and dicts of these.
        reason: one sentence, or "" where another choice has said it.
    """

    key: str
    value: Any
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """A config on top of a shipped one.

    Attributes:
        base: name of the config that it inherits.
        title: what it is for.
        choices: what it sets; a later choice replaces an earlier one of the same key.
    """

    base: str
    title: str
    choices: Sequence[Choice] = field(default_factory=tuple)

    def changed(self, *choices: Choice) -> "Plan":
        """Return the plan with further `choices`, in place of earlier ones of the same keys."""
        found = {choice.key: choice for choice in (*self.choices, *choices)}
        return replace(self, choices=tuple(found.values()))

    def value(self, key: str) -> Any:
        """Return what is chosen for `key`.

        Raises:
            KeyError: nothing is.
        """
        return {choice.key: choice.value for choice in self.choices}[key]

    def options(self) -> dict[str, Any]:
        """Return what is set, by key."""
        return {choice.key: choice.value for choice in self.choices}

    def to_text(self) -> str:
        """Return the plan as the text of a config."""
        lines = [f'"""{self.title}', "", "Command: maetool train PATH_OF_THIS_FILE", '"""', ""]
        lines += [f"_base_ = [{self.base!r}]".replace("'", '"'), ""]
        tree: dict[str, Any] = {}
        for choice in self.choices:
            *parents, last = choice.key.split(".")
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = choice
        return "\n".join(lines + _lines(tree)) + "\n"

    def write(self, path: Path) -> Path:
        """Write the plan to `path`, and return that."""
        write_text(path, self.to_text())
        return path


def _lines(tree: dict[str, Any], depth: int = 0) -> list[str]:
    """Return the lines of the settings in a tree of dicts, whose leaves are choices."""
    indent, end, lines = "    " * depth, "," * bool(depth), list[str]()
    for key, node in tree.items():
        if isinstance(node, Choice):
            lines += [f"{indent}# {line}" for line in wrap(node.reason, _WIDTH - len(indent))]
            lines.append(f"{indent}{key}{' = ' if not depth else '='}{_text(node.value)}{end}")
        else:
            lines += [f"{indent}{key}{' = ' if not depth else '='}dict(", *_lines(node, depth + 1), f"{indent}){end}"]
    return lines


def _text(value: Any) -> str:
    """Return a value as Python, dicts as calls of `dict` where their keys are names."""
    if isinstance(value, dict):
        if all(str(key).isidentifier() for key in value):
            return "dict(" + ", ".join(f"{key}={_text(each)}" for key, each in value.items()) + ")"
        return "{" + ", ".join(f"{key!r}: {_text(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    text = repr(value)
    return f'"{text[1:-1]}"' if isinstance(value, str) and text[0] == "'" and '"' not in text else text
