"""Secrets in the options of sources: named by environment variables, so that no config or checkpoint holds them."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from maetool.errors import UsageError
from maetool.messages import print_log

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_SECRET = re.compile(r"token|secret|passw|credential|(^|_)key$", re.IGNORECASE)


def with_variables(value: Any) -> Any:
    """Return options in which each `${NAME}` is replaced by the environment variable of that name.

    Args:
        value: options, and what they hold at any depth.

    Raises:
        UsageError: there is no such variable.
    """
    if isinstance(value, Mapping):
        return {name: with_variables(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(with_variables(each) for each in value)
    return _VARIABLE.sub(_variable, value) if isinstance(value, str) else value


def _variable(match: re.Match[str]) -> str:
    if match[1] not in os.environ:
        raise UsageError(f"options name the environment variable {match[1]}, which is not set: export {match[1]}=...")
    return os.environ[match[1]]


def warn_of_secrets(options: Mapping[str, Any]) -> None:
    """Warn once of secrets that options spell out, because the config of every checkpoint then holds them.

    Args:
        options: what a file system is built with.
    """
    if names := tuple(_spelled_out(options)):
        _warn(names)


def _spelled_out(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _spelled_out(value)
        elif isinstance(value, str) and _SECRET.search(str(name)) and not _VARIABLE.search(value):
            yield str(name)


@cache
def _warn(names: tuple[str, ...]) -> None:
    print_log(
        f"options spell out {' and '.join(names)}, which the config in each checkpoint then holds: write "
        f"{names[0]}='${{NAME}}' and export NAME=... in its place.",
        level=logging.WARNING,
    )
