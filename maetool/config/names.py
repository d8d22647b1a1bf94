"""Paths of config values as `--cfg-options` writes them, and suggestions for misspelt ones."""

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mmengine import Config

Key = tuple[str | int, ...]
_SHOWN = 3


def flatten(cfg: Config) -> dict[Key, Any]:
    """Return every value of `cfg` by its path, a tuple of keys and of positions in lists."""
    return dict(_leaves(cfg.to_dict(), ()))


def name_of(key: Key) -> str:
    """Return the path `key` as --cfg-options writes it: "param_scheduler.0.type"."""
    return ".".join(map(str, key))


def near_names(name: str, cfg: Config, known: Collection[str]) -> str:
    """Return suggestions for an option whose first part is not a key of the config, joined for a message.

    Args:
        name: for example "warmup_epochs", which exists at a deeper level, or "trian_cfg.max_epochs".
        cfg: the config.
        known: keys that an option may begin with, whether the config has them or not.
    """
    first, *rest = name.split(".")
    places = {key[: key.index(first) + 1] for key in flatten(cfg) if first in key and key[0] in known}
    deeper = [name_of((*place, *rest)) for place in sorted(places, key=lambda place: (len(place), name_of(place)))]
    parts = [key for key in sorted(known, key=len) if first in key.split("_")]  # lr in base_lr
    near = deeper or difflib.get_close_matches(first, known) or parts
    return ", ".join(near[:_SHOWN]) or "none"


def _leaves(node: Any, key: Key) -> Iterator[tuple[Key, Any]]:
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from _leaves(value, (*key, name))
    elif isinstance(node, list | tuple) and any(isinstance(item, Mapping) for item in node):
        for i, item in enumerate(node):
            yield from _leaves(item, (*key, i))
    else:
        yield key, node
