"""`custom_hooks` as a dict of names, so that a config can change one hook without repeating the others."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine import Config

from maetool.errors import UsageError

_KEY = "custom_hooks"


def hook_names(cfg: Config) -> list[str]:
    """Return the names of the custom hooks of `cfg` in the order of `list_hooks`; empty if they are already a list."""
    hooks = cfg.get(_KEY)
    return [name for name, hook in hooks.items() if hook is not None] if isinstance(hooks, Mapping) else []


def list_hooks(cfg: Config) -> None:
    """Turn the custom hooks of `cfg`, by name, into the list that MMEngine's runner expects; None removes a hook.

    Raises:
        UsageError: an entry that is not a hook, such as a change to a hook that the config does not have.
    """
    hooks = cfg.get(_KEY)
    if not isinstance(hooks, Mapping):
        return
    names = hook_names(cfg)
    for name in names:
        _check(name, hooks[name], [other for other in names if other != name])
    cfg[_KEY] = [hooks[name] for name in names]


def name_in_option(option: str, names: Sequence[str]) -> str:
    """Return an option with a position, `custom_hooks.0`, replaced by the name of that hook; others stay as they are.

    Args:
        option: "key=value".
        names: of the custom hooks, in order.
    """
    key, equals, value = option.partition("=")
    path = key.split(".")
    if path[0] == _KEY and len(path) > 1 and path[1].isdigit() and int(path[1]) < len(names):
        path[1] = names[int(path[1])]
    return f"{'.'.join(path)}{equals}{value}"


def _check(name: str, hook: Any, others: Sequence[str]) -> None:
    is_dict = isinstance(hook, Mapping)
    if "type" in hook if is_dict else not isinstance(hook, bool | int | float | str | list | tuple):
        return
    near = difflib.get_close_matches(name, others) if is_dict else ()
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    problem = "has no `type`" if is_dict else f"is {hook!r}"
    raise UsageError(
        f"{_KEY}.{name}{hint} {problem}, but must be a dict with the name of a hook as `type`, or None; the config's "
        f"other hooks are {', '.join(others) or 'none'}."
    )
