"""Keeps the arrays of annotations, because checking that of COCO takes half a minute."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from maetool.data.sources.array_cache import Dependencies, cache_of, load_arrays, names_in, save_arrays, state_of
from maetool.data.sources.packed.names import Names
from maetool.errors import UsageError

from .coco_file import CocoFile, Ids, coco_file_of, read_coco
from .folders import files_of
from .voc import read_voc
from .yolo import NO_LABELS, read_yolo

_FORMAT = "coco 2"
_TEXTS = ("classes", "category_ids", "first_undrawn")  # kept as JSON
_TYPES = {"sizes": "int32", "starts": "int64", "boxes": "float64", "areas": "float64", "labels": "int32"}
_TYPES |= dict.fromkeys(("crowd", "flat", "undrawn"), "bool")


def cached_coco(path: str | Path, cache_dir: str | Path | None = None, images: str | Path | None = None) -> CocoFile:
    """Return checked annotations as `read_coco` does, from the cache while the files are as they were.

    Args:
        path: an annotation file of COCO, or a folder with a file for each image: `.txt` of YOLO or `.xml` of Pascal
            VOC.
        cache_dir: where to keep the cache; by default `maetool/index` in the user's cache folder.
        images: folder of the images, which a folder of files needs.

    Raises:
        UsageError: see `read_coco`, `read_yolo` and `read_voc`.
    """
    source = os.path.abspath(os.path.expanduser(path))
    root = os.path.abspath(os.path.expanduser(images if images is not None else path))
    folder = os.path.isdir(source)
    cache = cache_of(f"{source}\0{root}" if folder else source, cache_dir)
    kept = _unpacked(load_arrays(cache, _FORMAT), str(path))
    if kept is not None:
        return kept
    kind = _KINDS[_ending_in(source)] if folder else None
    paths = files_of(root, source, kind.ending) if kind else [source]
    dependencies = Dependencies.of({os.fsencode(each): state_of(each) for each in paths}, time.time_ns())
    content = coco_file_of(kind.read(source, root), path) if kind else read_coco(path)
    save_arrays(cache, _FORMAT, dependencies, _packed(content))
    return content


class _Kind(NamedTuple):
    ending: str
    read: Callable[[str, str], dict[str, Any]]


_KINDS = {".txt": _Kind(".txt", read_yolo), ".xml": _Kind(".xml", read_voc)}


def _ending_in(folder: str) -> str:
    """Return the ending of the files of objects in a folder.

    Raises:
        UsageError: it has none.
    """
    for _, _, names in os.walk(folder):
        lower = [name.lower() for name in names if name.lower() not in NO_LABELS]
        for ending in (".xml", ".txt"):
            if any(name.endswith(ending) for name in lower):
                return ending
    raise UsageError(
        f"{folder} holds no annotations: name an annotation file of COCO, or a folder with a text file of YOLO or an "
        "XML file of Pascal VOC for each image."
    )


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
