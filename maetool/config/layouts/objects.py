"""Where images and objects are in a folder of YOLO's or Pascal VOC's layout."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maetool.data.datasets.objects.yolo import read_yaml
from maetool.data.sources.part_names import part_of
from maetool.errors import UsageError

Parts = dict[str, tuple[Path, Path]]  # images and annotations of each part
_IMAGES = ("images", "JPEGImages", "imgs", "img")
_FILES = {"images": "labels", "JPEGImages": "Annotations", "imgs": "labels", "img": "labels"}
_ENDINGS = (".txt", ".xml")


def object_parts(root: Path) -> Parts:
    """Return the folders of images and of their files by part; "all" for a folder without parts; empty for none.

    `data.yaml` says where the parts are, or their folders have usual names: `images/train` with `labels/train`,
    `train/images` with `train/labels`, or `train` with images and files side by side; `Annotations` beside
    `JPEGImages` likewise.

    Args:
        root: the user's folder.

    Raises:
        UsageError: `data.yaml` names several folders for a part.
    """
    stated = _stated(root)
    if stated:
        return stated
    found: Parts = {}
    for images in _candidates(root):
        part = part_of(images.parent.name if images.name in _IMAGES else images.name)
        files = _files_for(images)
        if files is not None and (part or "all") not in found:
            found[part or "all"] = (images, files)
    return {part: place for part, place in found.items() if part != "all"} if "train" in found else found


def _stated(root: Path) -> Parts:
    places = _named_by_yaml(root)
    pairs = {part: (folder, _files_for(folder)) for part, folder in places.items() if folder.is_dir()}
    return {part: (folder, files) for part, (folder, files) in pairs.items() if files}


def object_lists(root: Path) -> dict[str, Path]:
    """Return the lists of the images of each part: those of `data.yaml`, of `ImageSets`, or `train.txt` and others.

    Args:
        root: the user's folder.

    Raises:
        UsageError: see `object_parts`.
    """
    lists = {part: path for part, path in _named_by_yaml(root).items() if path.is_file()}
    for folder in (*(root / "ImageSets" / name for name in ("Main", "Segmentation", "")), root):
        files = sorted(folder.glob("*.txt"))
        lists = lists or {part: path for path in files if (part := part_of(path.stem))}
    return lists


def _named_by_yaml(root: Path) -> dict[str, Path]:
    """Return the folders or lists that `data.yaml` names for each part, as far as they are there."""
    for path in sorted(root.glob("*.y*ml")):
        content = read_yaml(path)
        if "names" in content and content.get("train"):
            keys = {part: key for key in content if isinstance(key, str) and (part := part_of(key))}
            places = {part: _place(root, content.get("path"), content[key], path) for part, key in keys.items()}
            return {part: place for part, place in places.items() if place}
    return {}


def _place(root: Path, base: Any, entry: Any, path: Path) -> Path | None:
    """Return what `data.yaml` names, which may be of another machine; None if it is not there."""
    entries = [entry] if isinstance(entry, str) else entry or []
    if not isinstance(entries, list) or not all(isinstance(each, str) for each in entries):
        raise UsageError(f"{path} says {str(entry)[:80]!r} where the folder of a part is expected: correct it.")
    if len(entries) > 1:
        raise UsageError(
            f"{path} names {', '.join(entries[:3])} for a part: name one folder or list of images, or set root and "
            "annotations of the datasets in the config."
        )
    if not entries:
        return None
    parts = [part for part in entries[0].replace("\\", "/").split("/") if part not in ("", ".", "..")]
    places = (
        [Path(entries[0])] if os.path.isabs(entries[0]) else [root / str(base or "") / entries[0], root / entries[0]]
    )
    places += [root.joinpath(*parts[start:]) for start in range(len(parts))]
    return next((place for place in places if place.exists()), None)


def _candidates(root: Path) -> Iterator[Path]:
    """Yield folders that may hold the images of a part, the most usual first."""
    inside = sorted(path for path in root.glob("*") if path.is_dir())
    for folder in inside:
        if folder.name in _IMAGES:
            yield from sorted(path for path in folder.glob("*") if path.is_dir() and part_of(path.name))
    for folder in inside:
        if part_of(folder.name) and folder.name not in _IMAGES:
            yield from (folder / name for name in _IMAGES if (folder / name).is_dir())
            yield folder
    yield from (root / name for name in _IMAGES if (root / name).is_dir())
    yield root
    yield from (path for path in inside if path.name == "obj_train_data")  # CVAT's


def _files_for(images: Path) -> Path | None:
    """Return the folder of the files of objects for a folder of images; None if there are none."""
    parts = images.parts
    for place in reversed(range(len(parts))):
        if parts[place] in _FILES:
            folder = Path(*parts[:place], _FILES[parts[place]], *parts[place + 1 :])
            if folder.is_dir():
                return folder
    beside = [path for path in images.glob("*") if path.suffix.lower() in _ENDINGS]
    pictures = {path.stem for path in images.glob("*") if path.suffix.lower() not in _ENDINGS}
    return images if any(path.stem in pictures for path in beside) else None
