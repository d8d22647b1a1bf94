"""Keeps the arrays of an annotation file, because checking that of COCO takes half a minute."""

import json
import os
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from maetool.data.sources.array_cache import Dependencies, cache_of, load_arrays, names_in, save_arrays, state_of
from maetool.data.sources.packed.names import Names

from .coco_file import CocoFile, Ids, read_coco

_FORMAT = "coco 1"
_TEXTS = ("classes", "category_ids", "first_undrawn")  # kept as JSON
_TYPES = {"sizes": "int32", "starts": "int64", "boxes": "float64", "areas": "float64", "labels": "int32"}
_TYPES |= dict.fromkeys(("crowd", "flat", "undrawn"), "bool")


def cached_coco(path: str | Path, cache_dir: str | Path | None = None) -> CocoFile:
    """Return a checked annotation file as `read_coco` does, from the cache while the file is as it was.

    Args:
        path: the annotation file.
        cache_dir: where to keep the cache; by default `maetool/index` in the user's cache folder.

    Raises:
        UsageError: see `read_coco`.
    """
    source = os.path.abspath(os.path.expanduser(path))
    cache = cache_of(source, cache_dir)
    kept = _unpacked(load_arrays(cache, _FORMAT), str(path))
    if kept is not None:
        return kept
    dependencies = Dependencies.of({os.fsencode(source): state_of(source)}, time.time_ns())
    content = read_coco(path)
    save_arrays(cache, _FORMAT, dependencies, _packed(content))
    return content


def _packed(content: CocoFile) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for field in fields(CocoFile):
        value = getattr(content, field.name)
        if field.name in _TEXTS:
            arrays[field.name] = np.array(json.dumps(value))
        elif field.name != "path":
            arrays[field.name] = value.values if isinstance(value, Ids) else value
    return arrays


def _unpacked(arrays: dict[str, np.ndarray] | None, path: str) -> CocoFile | None:
    """Return the content in some arrays; None if they are of another program."""
    if arrays is None:
        return None
    try:
        texts = {name: json.loads(str(arrays[name])) for name in _TEXTS}
        numbers = {name: arrays[name] for name in _TYPES}
        names = {name: names_in(arrays, name) for name in ("files", "outlines")}
        ids = {name: Ids(_names_or_numbers(arrays, name)) for name in ("image_ids", "ids")}
        content = CocoFile(path=path, **texts, **numbers, **names, **ids)
        return content if _fits(content) else None
    except (KeyError, ValueError):
        return None


def _names_or_numbers(arrays: dict[str, np.ndarray], name: str) -> np.ndarray | Names:
    return arrays[name] if name in arrays else names_in(arrays, name)


def _fits(content: CocoFile) -> bool:
    """Return whether the arrays are of the types and lengths that belong together."""
    images, objects = len(content.files), len(content.outlines)
    lengths = {"sizes": images, "starts": images + 1}
    sizes = all(len(getattr(content, name)) == lengths.get(name, objects) for name in _TYPES)
    kinds = all(getattr(content, name).dtype == kind for name, kind in _TYPES.items())
    return sizes and kinds and (len(content.image_ids), len(content.ids)) == (images, objects)
