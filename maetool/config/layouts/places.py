"""Where the parts of a user's data are: folders, tables and shards with the usual names of parts."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maetool.data.sources.folds import fold_of
from maetool.data.sources.kinds import has_classes, knows_labels, parts_at, source_for
from maetool.data.sources.part_names import CONTENT, part_of, parts_among
from maetool.data.sources.tables.columns import is_table
from maetool.data.sources.tables.table import folds_of_table, parts_of_table
from maetool.data.sources.urls import is_url
from maetool.errors import UsageError

from .masks import find_masks
from .remarks import folders_in, tell_of_alike, tell_of_others, tell_of_parts
from .unlabelled import without_unreadable_labels

_logger = logging.getLogger("maetool")
_ROBOFLOW = "_classes.csv"  # Roboflow's table of the classes of a part's images
Place = dict[str, Any]


def places(root: Path | str, labelled: bool) -> tuple[Place, Place]:
    """Return the arguments of a training and of a validation dataset of the user's images.

    A table whose labels cannot be read gives its images alone to a model that needs no labels, which the log says.
    Parts are known by their usual names in any case, see `maetool.data.sources.part_names`. Without a validation part a
    fifth of the training part is held out, or for a model without classes 1,000 of its images are shown; a test part is
    left out, which a line of the log says.

    Args:
        root: folder, text list, table, archive or URL; see `maetool.config.user_data.use_data`.
        labelled: the model needs labels.

    Raises:
        UsageError: several folders may be the same part.
    """
    if is_url(root):
        return _in_one_place(root, labelled)
    train, val = _places(Path(root).expanduser(), labelled)
    return (train, val) if labelled else without_unreadable_labels([train, val])


def _places(root: Path, labelled: bool) -> tuple[Place, Place]:
    if is_table(root) and source_for(root)["type"] == "TableSource":
        return _table(root)
    if not _is_folder_of_images(root):
        return _in_one_place(root, labelled)
    if not labelled and (places_of_images := _beside_masks(root)):
        return places_of_images
    tables = _parts(path for path in sorted(root.iterdir()) if is_table(path) and path.is_file())
    if "train" in tables:
        tell_of_parts(root, tables, "val" in tables)
        return (_csv(tables["train"]), _csv(tables["val"])) if "val" in tables else _table(tables["train"])
    folders = part_folders(root)
    if folders:
        tell_of_parts(root, folders, "val" in folders)
        tell_of_others(folders["train"].parent, folders)
        if "val" not in folders:
            return _held_out(_part(folders["train"], labelled), labelled)
        return _part(folders["train"], labelled), _part(folders["val"], labelled or _classes_in(folders["val"]))
    if _parts_in_classes(root):
        return _by_class(root, labelled)
    if folds := _folds_in(_content(root)):
        return _by_fold(_content(root), folds, labelled)
    tell_of_alike(root)
    return _held_out(_folder(_content(root), labelled), labelled)


def _beside_masks(root: Path) -> tuple[Place, Place] | None:
    """Return the places of the images that have masks beside them, which are no images; None where there are none."""
    masks = find_masks(root)
    folders = {part: images for part, (images, _) in masks.folders.items()} if masks else {}
    train, val = folders.get("train", folders.get("all")), folders.get("val")
    if train is None:
        return None
    _logger.info("%s holds masks too: the images are those of %s.", root, " and ".join(filter(None, (train, val))))
    tell_of_parts(root, folders, val is not None)
    place = _folder(root / train, False)
    return (place, _folder(root / val, False)) if val else _held_out(place, False)


def test_place(root: Path | str, labelled: bool) -> Place | None:
    """Return the arguments of a dataset of the test part, which `places` leaves out; None if there is none.

    Args:
        root, labelled: see `places`.

    Raises:
        UsageError: see `places`.
    """
    root = root if is_url(root) else Path(root).expanduser()
    source = source_for(root)
    if source["type"] == "TableSource":
        return {**_csv(Path(root)), "split": "test"} if "test" in parts_of_table(root) else None
    if isinstance(root, str) or not _is_folder_of_images(root):
        part = parts_at(source).get("test")
        return part and {"type": "SourceDataset", "source": part, "with_labels": labelled and knows_labels(part)}
    tables = _parts(path for path in sorted(root.iterdir()) if is_table(path) and path.is_file())
    if "train" in tables:
        return _csv(tables["test"]) if "test" in tables else None
    folders = part_folders(root)
    if folders:
        return _part(folders["test"], labelled and _classes_in(folders["test"])) if "test" in folders else None
    inside = [_parts(folders_in(name)) for name in folders_in(root)] if _parts_in_classes(root) else []
    return {**_folder(root, labelled), "split": "test"} if any("test" in parts for parts in inside) else None


def all_images(data: str) -> Place:
    """Return the arguments of a dataset of all images at `data`, with labels if all are in class folders."""
    root = data if is_url(data) else Path(data)
    place = _folder(root, False)
    if place["type"] == "CsvDataset":
        return without_unreadable_labels([place])[0]
    return {**place, "with_labels": has_classes(root)}


def _in_one_place(root: Path | str, labelled: bool) -> tuple[Place, Place]:
    """Return the places of an archive, a database, or whatever else is one file or folder of all parts."""
    parts = parts_at(source_for(root))
    if not parts:
        return _held_out(_folder(root, labelled), labelled)
    tell_of_parts(root, set(parts), "val" in parts)
    train = {"type": "SourceDataset", "source": parts["train"], "with_labels": labelled}
    if "val" not in parts:
        return _held_out(train, labelled)
    return train, {**train, "source": parts["val"], "with_labels": labelled or knows_labels(parts["val"])}


def _folder(root: Path | str, with_labels: bool) -> Place:
    source = source_for(root)
    if source["type"] == "TableSource":
        return _csv(Path(root))
    kind = {"FolderSource": "ImageFolderDataset", "ShardSource": "ShardDataset"}.get(source["type"])
    place = {"type": kind, "root": str(root)} if kind else {"type": "SourceDataset", "source": source}
    return {**place, "with_labels": with_labels}


def _fold(root: Path, folds: Sequence[int]) -> Place:
    """Return the argument for the fold that is held out unless an option chooses another; empty without folds."""
    if len(folds) < 2:
        return {}
    _logger.warning(
        "%s has the folds %s: one is held out to validate on, all others train; it is fold %d unless an option such as "
        "train_dataloader.dataset.fold=%d names another.",
        *(root, ", ".join(map(str, folds)), folds[0], folds[1]),
    )
    return {"fold": folds[0]}


def _folds_in(root: Path) -> list[int]:
    """Return the folds that have folders in `root`, or in all of its class folders."""
    folders = folders_in(root)
    own = {fold_of(folder.name) for folder in folders}
    inside = [{fold_of(folder.name) for folder in folders_in(each)} for each in folders] if own == {None} else []
    common = set.union(*inside) if inside and all(inside) else own
    return sorted(fold for fold in common if fold is not None) if None not in common else []


def _by_fold(root: Path, folds: Sequence[int], labelled: bool) -> tuple[Place, Place]:
    """Return the places of folders of folds, with classes inside of them or around them."""
    first = next(path for path in [*folders_in(root), root] if fold_of(path.name) is not None or path == root)
    classes = first == root or len(folders_in(first)) > 1
    train = {**_folder(root, labelled), **_fold(root, folds), "part": "train"}
    return train, {**train, "part": "val", "with_labels": labelled or classes}


def _is_folder_of_images(root: Path) -> bool:
    return root.is_dir() and source_for(root)["type"] == "FolderSource"


def _csv(table: Path) -> Place:
    return {"type": "CsvDataset", "csv_file": str(table)}


def _part(folder: Path, labelled: bool) -> Place:
    """Return the place of a part with a folder of its own."""
    if labelled and (folder / _ROBOFLOW).is_file():
        return _csv(folder / _ROBOFLOW)
    return _folder(_content(folder) if _is_folder_of_images(folder) else folder, labelled)


def _held_out(place: Place, labelled: bool) -> tuple[Place, Place]:
    if labelled or "csv_file" in place:
        return {**place, "part": "train"}, {**place, "part": "val"}
    return place, {**place, "limit": 1000}


def _table(table: Path) -> tuple[Place, Place]:
    parts = parts_of_table(table) or set()
    if "train" not in parts:
        return _held_out({**_csv(table), **_fold(table, folds_of_table(table))}, True)
    tell_of_parts(table, parts, "val" in parts)
    train = {**_csv(table), "split": "train"}
    if "val" in parts:
        return train, {**_csv(table), "split": "val"}
    return _held_out({**train, **_fold(table, folds_of_table(table))}, True)


def _by_class(root: Path, labelled: bool) -> tuple[Place, Place]:
    """Return the places of class folders with the parts inside of each."""
    parts = {part for name in folders_in(root) for part in _parts(folders_in(name))}
    tell_of_parts(root, parts, "val" in parts)
    train = {**_folder(root, labelled), "split": "train"}
    if "val" not in parts:
        return _held_out(train, labelled)
    return train, {**_folder(root, True), "split": "val"}


def part_folders(root: Path) -> dict[str, Path]:
    """Return the folders of the parts in `root` or in its folder of images; empty where there is no training part.

    One part alone beside other folders may be a class, such as `train` beside `bus`.

    Args:
        root: the user's folder.

    Raises:
        UsageError: two folders are named like the same part.
    """
    for place in (_only_folder(root), root, _content(root)):
        folders = folders_in(place)
        parts = _parts(folders)
        others = [folder for folder in folders if folder not in parts.values() and folder.name.lower() not in CONTENT]
        if "train" in parts and (len(parts) > 1 or not others):
            return parts
    return {}


def _parts_in_classes(root: Path) -> bool:
    folders = folders_in(root)
    return len(folders) > 1 and all("train" in _parts(folders_in(folder)) for folder in folders)


def _content(folder: Path) -> Path:
    """Return the folder of images inside of a folder that has nothing else but labels, or else the folder itself."""
    inside = folders_in(folder) if folder.is_dir() else []
    if [path.name for path in inside] == [folder.name] == [path.name for path in folder.iterdir()]:
        return _content(inside[0])  # as archives are unpacked
    images = [path for path in inside if path.name.lower() in CONTENT and part_of(path.name) is None]
    images = [path for path in images if path.name.lower().startswith(("im", "jpeg", "pict", "photo"))]
    only = all(path.name.lower() in CONTENT for path in inside)
    return images[0] if only and len(images) == 1 else folder


def _only_folder(root: Path) -> Path:
    """Return the folder that all folders in `root` lie in, as archives are unpacked, or else `root` itself."""
    inside = folders_in(root)
    return _only_folder(inside[0]) if len(inside) == 1 else root


def _classes_in(folder: Path) -> bool:
    """Return whether a part has labels: two or more folders of classes, shards with classes, or Roboflow's table."""
    if not _is_folder_of_images(folder):
        return has_classes(folder)
    return len(folders_in(_content(folder))) > 1


def _parts(paths: Any) -> dict[str, Path]:
    """Return the path of each part.

    Raises:
        UsageError: two paths are named like the same part.
    """
    by_name = {path.stem if is_table(path) else path.name: path for path in paths}
    parts: dict[str, Path] = {}
    for name, part in parts_among(by_name).items():
        path = by_name[name]
        if part in parts and part != "test":
            raise UsageError(
                f"{path.parent} has `{parts[part].name}` and `{path.name}`, which may both be the part {part}: move "
                "one of them away, or set the datasets in the config."
            )
        parts[part] = path
    return parts
