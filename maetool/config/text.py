"""A config whose text keeps the order of its dicts."""

from collections.abc import Mapping
from copy import deepcopy
from keyword import iskeyword
from typing import Any

from mmengine import Config

_WIDTH, _INDENT = 100, 4


class OrderedConfig(Config):
    """MMEngine's config, but for its text, in which every section keeps the order of its entries.

    `Config` sorts them by name. The order of stems, of groups of channels and of streams is that of their tokens,
    however, so that a run's own file would describe another model than the one that was trained.
    """

    @property
    def pretty_text(self) -> str:
        """The config as Python, its sections sorted by name."""
        lines = (f"{name} = {_text(value, len(name) + 3)}\n" for name, value in sorted(self.to_dict().items()))
        return "".join(lines)

    @classmethod
    def copy_of(cls, cfg: Config) -> "OrderedConfig":
        """Return a copy of the config `cfg`, of any class."""
        copy = cls()
        copy.__setstate__(deepcopy(cfg).__getstate__())
        return copy


def _text(value: Any, used: int = 0, indent: int = 0) -> str:
    """Return a value as Python: on one line if there is room for it, else with an entry on each line.

    Args:
        value: what to write.
        used: characters that stand before it on its line.
        indent: spaces before the line.
    """
    line = _line(value)
    opening, entries, closing = _entries(value)
    if not entries or used + indent + len(line) <= _WIDTH:
        return line
    inner = indent + _INDENT
    lines = (f"{' ' * inner}{name}{_text(each, len(name) + 1, inner)},\n" for name, each in entries)
    return f"{opening}\n{''.join(lines)}{' ' * indent}{closing}"


def _line(value: Any) -> str:
    opening, entries, closing = _entries(value)
    comma = "," if opening == "(" and len(entries) == 1 else ""  # a tuple of one
    return opening + ", ".join(name + _line(each) for name, each in entries) + comma + closing


def _entries(value: Any) -> tuple[str, list[tuple[str, Any]], str]:
    """Return what opens a container, its entries with what stands before each, and what closes it."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key.isidentifier() and not iskeyword(key) for key in value):
            return "dict(", [(f"{key}=", each) for key, each in value.items()], ")"
        return "{", [(f"{key!r}: ", each) for key, each in value.items()], "}"
    if isinstance(value, list):
        return "[", [("", each) for each in value], "]"
    if isinstance(value, tuple):
        return "(", [("", each) for each in value], ")"
    if isinstance(value, type):
        return value.__name__ if value.__module__ == "builtins" else f"{value.__module__}.{value.__name__}", [], ""
    return repr(value) if isinstance(value, str) else str(value), [], ""
