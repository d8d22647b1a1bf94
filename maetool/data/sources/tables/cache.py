"""Keeps what a table says, because looking whether a million files are there takes minutes on a network disk."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..array_cache import Dependencies, cache_of, load_arrays, names_in, save_arrays, state_of
from ..base import Labels, Measurements
from ..file_index import FileIndex

_FORMAT = "table 2"
_KINDS: dict[str, type[Labels] | type[Measurements]] = {"labels": Labels, "measurements": Measurements}


class TableContent(NamedTuple):
    """What is used of a table.

    Attributes:
        files: those that it names.
        labels: of each file.
        groups: number of the group of each, int64 (N,); None without groups.
        held_out: which are held out for validation, bool (N,); None where the table does not say it.
    """

    files: FileIndex
    labels: Labels | Measurements
    groups: Tensor | None
    held_out: Tensor | None


def cached_table(
    table: str | Path,
    arguments: Mapping[str, Any],
    read: Callable[[], TableContent],
    cache_dir: str | Path | None = None,
) -> TableContent:
    """Return what is used of a table, from the cache while table and folders of images are unchanged.

    Args:
        table: its path.
        arguments: what it is read with, plain values; others have a cache of their own.
        read: reads it.
        cache_dir: where to keep the cache; by default `maetool/index` in the user's cache folder.
    """
    table = os.path.abspath(os.path.expanduser(table))
    cache = cache_of("\0".join([table, json.dumps(arguments, sort_keys=True, default=str)]), cache_dir)
    kept = _unpacked(load_arrays(cache, _FORMAT))
    if kept is not None:
        return kept
    state, began = state_of(table), time.time_ns()
    content = read()
    folders = _folders_of(content.files)
    states = {os.fsencode(table): state, **{folder: state_of(folder) for folder in folders}}
    save_arrays(cache, _FORMAT, Dependencies.of(states, began), _packed(content))
    return content


def _folders_of(files: FileIndex) -> set[bytes]:
    """Return the folders that the files lie in."""
    return {os.fsencode(os.path.dirname(files.path(index))) for index in range(len(files))}


def _packed(content: TableContent) -> dict[str, Any]:
    files, labels = content.files, content.labels
    kind = "labels" if isinstance(labels, Labels) else "measurements"
    facts = {"root": files.root, "kind": kind, "names": labels[0]}
    arrays = {"name": files.names, "facts": np.array(json.dumps(facts)), "values": labels.values.numpy()}
    optional = {"groups": content.groups, "held_out": content.held_out}
    return {**arrays, **{name: values.numpy() for name, values in optional.items() if values is not None}}


def _unpacked(arrays: dict[str, np.ndarray] | None) -> TableContent | None:
    """Return the content in some arrays; None if they are of another program."""
    if arrays is None:
        return None
    try:
        facts = json.loads(str(arrays["facts"]))
        files = FileIndex(str(facts["root"]), names_in(arrays, "name"))
        labels = _KINDS[facts["kind"]]([str(name) for name in facts["names"]], _tensor(arrays["values"]))
        groups, held_out = (_tensor(arrays[name]) if name in arrays else None for name in ("groups", "held_out"))
        content = TableContent(files, labels, groups, held_out)
        return content if _fits(content) else None
    except (KeyError, ValueError, TypeError):
        return None


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.copy())  # the bytes of the file are read-only


def _fits(content: TableContent) -> bool:
    """Return whether the arrays are of the types and lengths that belong together."""
    files, labels, groups, held_out = content
    values, columns = labels.values, len(labels[0])
    for each, dtype in ((groups, torch.int64), (held_out, torch.bool)):
        if each is not None and (each.dtype != dtype or each.shape != (len(files),)):
            return False
    if values.dtype == torch.int64 and isinstance(labels, Labels):
        within = values.numel() == 0 or bool(((values >= 0) & (values < columns)).all())
        return values.shape == (len(files),) and within
    return values.dtype == torch.float32 and values.shape == (len(files), columns)
