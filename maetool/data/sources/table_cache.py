"""Keeps what a table says, because looking whether a million files are there takes minutes on a network disk."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .array_cache import Dependencies, cache_of, load_arrays, names_in, save_arrays, state_of
from .base import Labels, Measurements
from .file_index import FileIndex
from .packed.names import Names

Content = tuple[FileIndex, Labels | Measurements, Tensor | None]

_FORMAT = "table 1"
_KINDS: dict[str, type[Labels] | type[Measurements]] = {"labels": Labels, "measurements": Measurements}


def cached_table(
    table: str | Path, arguments: Mapping[str, Any], read: Callable[[], Content], cache_dir: str | Path | None = None
) -> Content:
    """Return the files, labels and groups of a table, from the cache while table and folders of images are unchanged.

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
    folders = _folders_of(content[0])
    states = {os.fsencode(table): state, **{folder: state_of(folder) for folder in folders}}
    save_arrays(cache, _FORMAT, Dependencies.of(states, began), _packed(content))
    return content


def _folders_of(files: FileIndex) -> set[bytes]:
    """Return the folders that the files lie in."""
    return {os.fsencode(os.path.dirname(files.path(index))) for index in range(len(files))}


def _packed(content: Content) -> dict[str, Any]:
    files, labels, groups = content
    kind = "labels" if isinstance(labels, Labels) else "measurements"
    facts = {"root": files.root, "kind": kind, "names": labels[0]}
    arrays = {"name": files.names, "facts": np.array(json.dumps(facts)), "values": labels.values.numpy()}
    return arrays if groups is None else {**arrays, "groups": groups.numpy()}


def _unpacked(arrays: dict[str, np.ndarray] | None) -> Content | None:
    """Return the content in some arrays; None if they are of another program."""
    if arrays is None:
        return None
    try:
        facts = json.loads(str(arrays["facts"]))
        files = FileIndex(str(facts["root"]), names_in(arrays, "name"))
        labels = _KINDS[facts["kind"]]([str(name) for name in facts["names"]], _tensor(arrays["values"]))
        groups = _tensor(arrays["groups"]) if "groups" in arrays else None
        return (files, labels, groups) if _fits(files.names, labels, groups) else None
    except (KeyError, ValueError, TypeError):
        return None


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.copy())  # the bytes of the file are read-only


def _fits(names: Names, labels: Labels | Measurements, groups: Tensor | None) -> bool:
    """Return whether the arrays are of the types and lengths that belong together."""
    values, columns = labels.values, len(labels[0])
    if groups is not None and (groups.dtype != torch.int64 or groups.shape != (len(names),)):
        return False
    if values.dtype == torch.int64 and isinstance(labels, Labels):
        within = values.numel() == 0 or bool(((values >= 0) & (values < columns)).all())
        return values.shape == (len(names),) and within
    return values.dtype == torch.float32 and values.shape == (len(names), columns)
