"""`--cfg-options`: parses values and applies them to a config."""

import ast
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine import Config
from mmengine.utils import import_modules_from_strings

from maetool.annotations import hints_of, kinds_of
from maetool.errors import UsageError
from maetool.registry import check_arguments

from .facts import classes_of
from .keys import KEYS
from .names import near_names

_BRACKETS = {"[": "]", "(": ")"}
_QUOTED = re.compile(r"""(?s)(['"]).*\1""")
_LEADING_ZERO = re.compile(r"[+-]?0\d+")  # a name or a number in a file, such as 007


def change_config(cfg: Config, options: Sequence[str]) -> None:
    """Apply options to a config in place, and import the modules of a changed `custom_imports`.

    `parse_value` defines how a value is read.

    Args:
        cfg: the config.
        options: each `key.key=value`.

    Raises:
        UsageError: an option without a value, for an unknown key, or for a key below something that has no keys.
    """
    changes: dict[str, Any] = {}
    for option in options:
        key, value = _split(option, cfg)
        changes[key] = parse_value(value, *_place(cfg, key.split("."), changes))
    _merge(cfg, {**changes, **_replaced(cfg, changes)}, options)
    if any(key.split(".")[0] == "custom_imports" for key in changes):
        _import(cfg)


def _replaced(cfg: Config, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes with MMEngine's `_delete_`, where a dict replaces something else, such as None or a list.

    Raises:
        UsageError: an option for a key of a list.
    """
    replaced: dict[str, Any] = {}
    for key, value in changes.items():
        path = key.split(".")
        numbered = isinstance(value, Mapping) and all(str(name).isdigit() for name in value)
        if isinstance(value, Mapping) and _holds_other(cfg, path) and not numbered:
            replaced[key] = {"_delete_": True, **value}
        for end in range(1, len(path)):
            place = ".".join(path[:end])
            if {place, f"{place}._delete_"} & changes.keys() or not _holds_other(cfg, path[:end]):
                continue
            there = _look(cfg, path[:end])
            if isinstance(there, list | tuple) and not path[end].isdigit():
                raise UsageError(
                    f"The option {key} names a key, but {place} holds a list of {len(there)}: name an item of it, such "
                    f"as {'.'.join([place, '0', *path[end:]])}."
                )
            if there is None or isinstance(there, bool):
                replaced[f"{place}._delete_"] = True
    return replaced


def _holds_other(cfg: Config, path: Sequence[str]) -> bool:
    """Return whether a config has a value at a path, None included, that is not a dict."""
    owner = _look(cfg, path[:-1])
    there = isinstance(owner, Config | Mapping) and path[-1] in owner
    return there and not isinstance(owner[path[-1]], Mapping)


def repeat_options(cfg: Config, options: Sequence[str], before: Config) -> None:
    """Restore the values of options that were changed after `change_config`.

    Args:
        cfg: the config, changed in place.
        options: as given to `change_config`.
        before: the config as `change_config` left it.

    Raises:
        UsageError: the section of an option no longer exists.
    """
    keys = [option.split("=")[0] for option in options if not option.split("=")[0].endswith("_delete_")]
    changes = {}
    for key in keys:
        path = key.split(".")
        value = _without_delete(_look(before, path))
        if _look(cfg, path) == value:
            continue
        if len(path) > 1 and _look(cfg, path[:-1]) is None:
            raise UsageError(
                f"The option {key} has no effect, because another option removes {'.'.join(path[:-1])}: leave one of "
                "them out."
            )
        changes[key] = value
    _merge(cfg, changes, options)


def _merge(cfg: Config, changes: Mapping[str, Any], options: Sequence[str]) -> None:
    items = {key: value for key, value in changes.items() if _is_item(cfg, key.split("."), value)}
    try:
        cfg.merge_from_dict({key: value for key, value in changes.items() if key not in items})
        for key, value in items.items():
            _put(cfg, key.split("."), value)
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        reason = str(error.args[0] if error.args else error).rstrip(".")
        raise UsageError(f"The options {' '.join(options)} do not fit the config: {reason}.") from error


def _is_item(cfg: Config, path: Sequence[str], value: Any) -> bool:
    """Return whether an option replaces a list item by something other than a dict, which MMEngine cannot merge."""
    parent = _look(cfg, path[:-1])
    within = isinstance(parent, list | tuple) and path[-1].isdigit() and int(path[-1]) < len(parent)
    return within and not isinstance(value, Mapping)


def _put(cfg: Config, path: Sequence[str], value: Any) -> None:
    owner = _look(cfg, path[:-1]) if path[1:] else cfg
    if isinstance(owner, list | tuple):
        place = int(path[-1])
        _put(cfg, path[:-1], type(owner)(value if n == place else item for n, item in enumerate(owner)))
    else:
        owner[path[-1]] = value


def _import(cfg: Config) -> None:
    names = cfg.custom_imports
    if not isinstance(names, Mapping):  # None, or what `check_keys` refuses
        return
    check_arguments("custom_imports", names, ("imports", "allow_failed_imports"))
    try:
        import_modules_from_strings(**names)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # whatever a module raises
        cause = error.__context__ or error
        raise UsageError(
            f"custom_imports={dict(names)} failed ({type(cause).__name__}: {cause}): name modules that can be imported."
        ) from error


def _split(option: str, cfg: Config) -> tuple[str, str]:
    key, equals, value = option.partition("=")
    if not equals:
        raise UsageError(f"The option `{option}` has no value: write --cfg-options {option}=VALUE.")
    if not all(key.split(".")):
        raise UsageError(f"The option `{option}` names no key: write KEY=VALUE, such as model.encoder.depth=6.")
    # Variables of a config file, such as _names, were used before the options are read.
    known = {*(name for name in cfg if not name.startswith("_")), *KEYS}
    if key.split(".")[0] not in known:
        raise UsageError(f"The config has no `{key}`; near names: {near_names(key, cfg, known)}.")
    return key, value


def parse_value(text: str, current: Any = None, kinds: frozenset[str] = frozenset({"any"})) -> Any:
    r"""Parse the text of an option.

    Where only a string fits, the value is the text exactly as typed: spaces, commas, brackets, backslashes and leading
    zeros are kept. Otherwise it is a Python literal if the complete text is one, in which `dict(type='X')` may stand
    as in a config; `true` or `false`; a list in MMEngine's notation, `[a,b]`, `(a,b)`, or `a,b` where a list fits; or
    else the text as typed. Enclosing quotes are always removed, and None always means None.

    Args:
        text: what follows the `=`.
        current: the present value in the config.
        kinds: the kinds of value that the argument takes, see `maetool.annotations.kinds_of`.
    """
    if text == "None":
        return None
    if _QUOTED.fullmatch(text) and isinstance(literal := _literal(text), str):
        return literal
    if kinds <= {"str", "none"} or ("any" in kinds and isinstance(current, str) and current != "auto"):
        return text
    value = _parse(text, "list" in kinds or isinstance(current, list | tuple))
    if isinstance(value, list | tuple) and text[:1] not in _BRACKETS:  # MMEngine's 1,2 is a list
        return tuple(value) if isinstance(current, tuple) else list(value)
    return value


def _parse(text: str, lists: bool) -> Any:
    if _LEADING_ZERO.fullmatch(text):
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    value = _literal(text)
    if value is not text:
        return value
    if _BRACKETS.get(text[:1]) == text[-1:] and (items := _items(text[1:-1])) is not None:
        values = [_parse(item, True) for item in items]
        return tuple(values) if text[0] == "(" else values
    items = _items(text) if lists and "," in text else None
    if items is None or items == [text]:  # commas inside brackets separate nothing
        return text
    return [_parse(item, True) for item in items]


def _literal(text: str) -> Any:
    """Return the value of a text that is a Python literal, `dict(name=value)` included; any other text as it is."""
    try:
        return ast.literal_eval(_DictCalls().visit(ast.parse(text.lstrip(" \t"), mode="eval")))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


class _DictCalls(ast.NodeTransformer):
    """Writes `dict(name=value)`, as configs do, as `{"name": value}`, which is a literal."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Return a dict for a call of `dict` with names alone."""
        self.generic_visit(node)
        names = [keyword.arg for keyword in node.keywords if keyword.arg is not None]
        if not isinstance(node.func, ast.Name) or node.func.id != "dict" or len(names) < len(node.keywords + node.args):
            return node
        return ast.Dict([ast.Constant(name) for name in names], [keyword.value for keyword in node.keywords])


def _items(text: str) -> list[str] | None:
    """Split a text at commas outside brackets; None if the brackets do not match."""
    items, open_ones = [""], []
    for sign in text:
        if sign in _BRACKETS:
            open_ones.append(_BRACKETS[sign])
        elif sign in _BRACKETS.values() and (not open_ones or open_ones.pop() != sign):
            return None
        if sign == "," and not open_ones:
            items.append("")
        else:
            items[-1] += sign
    items = [item.strip() for item in items]
    return None if open_ones else items[:-1] if items[-1] == "" else items


def _place(cfg: Config, path: Sequence[str], changes: Mapping[str, Any]) -> tuple[Any, frozenset[str]]:
    """Return the present value at a path, and the kinds of value that the argument there takes."""
    current, parent = _look(cfg, path), ".".join(path[:-1])
    if len(path) == 1:
        return current, frozenset(kinds_of(KEYS.get(path[0], Any)))
    owner = _look(cfg, path[:-1])
    name = changes.get(f"{parent}.type") or (owner.get("type") if isinstance(owner, Mapping) else None)
    hints = [hints_of(part).get(path[-1], Any) for part in classes_of(name)]
    kinds = frozenset().union(*map(kinds_of, hints)) if hints else frozenset({"any"})
    return current, frozenset({"str"}) if path[-1] == "type" else kinds


def _look(node: Any, path: Sequence[str]) -> Any:
    """Return the value at a path of keys and positions; None if there is none."""
    for name in path:
        if isinstance(node, Config | Mapping):
            node = node.get(name)
        elif isinstance(node, list | tuple) and name.isdigit() and int(name) < len(node):
            node = node[int(name)]
        else:
            return None
    return node


def _without_delete(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_delete(item) for key, item in value.items() if key != "_delete_"}
    return value


def parse_runs(runs: Sequence[str]) -> dict[str, list[str]]:
    """Parse runs written as "name key=value key=value" into names and their options; quotes protect spaces.

    Raises:
        UsageError: an empty run, a repeated name, or something that is not an option.
    """
    parsed: dict[str, list[str]] = {}
    for run in runs:
        name, *options = _words(run) or [""]
        wrong = [option for option in options if "=" not in option]
        if not name or "=" in name or "/" in name or name in parsed or wrong:
            raise UsageError(f'The run "{run}" must be a unique name followed by key=value, such as "red color=red".')
        parsed[name] = options
    return parsed


def _words(run: str) -> list[str]:
    """Split like a shell, but keep backslashes."""
    words = shlex.shlex(run, posix=True, punctuation_chars=False)
    words.whitespace_split, words.escape, words.commenters = True, "", ""
    try:
        return list(words)
    except ValueError as error:
        raise UsageError(f'The run "{run}" has an unclosed quote: close it.') from error
