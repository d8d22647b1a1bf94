"""What lies where: the parts of a data set, and the task that its truth is for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maetool.config.layouts.coco import coco_places, test_of_coco
from maetool.config.layouts.masks import MaskFolders, find_masks
from maetool.config.layouts.objects import object_parts
from maetool.config.layouts.places import places, test_place
from maetool.data.codecs.endings import IMAGE_EXTENSIONS
from maetool.data.sources.kinds import has_classes, knows_labels, source_for
from maetool.errors import UsageError
from maetool.reading import read_file

from .findings import Finding
from .other_labels import holds_boxes

TASKS = ("pretraining", "classification", "regression", "segmentation", "detection")
_SECTIONS = {"images", "annotations", "categories"}
_LARGEST = 2**26  # bytes; JSON of more is not looked into, and is taken for annotations where it is named so


@dataclass(frozen=True)
class Layout:
    """How a data set is laid out.

    Attributes:
        task: what its truth is for, one of TASKS.
        words: what it is, for people.
        parts: "train", "val", "test" or, where there is one part, "all", to the config of a dataset.
        masks: where images and masks lie, of segmentation.
        findings: what was noticed on the way.
    """

    task: str
    words: str
    parts: dict[str, dict[str, Any]]
    masks: MaskFolders | None = None
    findings: list[Finding] = field(default_factory=list)


def find_layout(root: Path | str, task: str | None = None) -> Layout:
    """Return how the data at `root` is laid out.

    Args:
        root: what `--data` takes; text where it is a URL.
        task: what it is for; None, what its truth is for.

    Raises:
        UsageError: nothing there that can be read, or not the truth of the task.
    """
    folder = root if isinstance(root, Path) and root.is_dir() else None
    masks = find_masks(folder) if folder and task in (None, "segmentation") else None
    if task == "detection" or (task is None and folder and (_has_coco(folder) or _has_boxes(folder))):
        return _with_objects(Path(root), masks)
    if masks:
        return Layout("segmentation", "images with masks", masks.places(Path(root)), masks)
    if task == "segmentation":
        raise UsageError(
            f"{root} has no folder of masks beside one of images: expected such as {root}/images/training and "
            f"{root}/annotations/training, whose files have the same names."
        )
    if task == "regression" and "csv_file" not in places(root, True)[0]:
        raise UsageError(f"{root} is no table, but numbers to predict are read from the columns of one: pass a table.")
    if task in ("classification", "regression") or (task is None and _has_labels(root)):
        return _with_labels(root, task)
    return Layout("pretraining", _words(root), _parts(*places(root, False), test_place(root, False)))


def _with_objects(root: Path, masks: MaskFolders | None) -> Layout:
    train, val = coco_places(root)
    single = Path(train["annotations"]).is_dir()
    words = "images with a file of boxes each" if single else "images with objects in COCO's files"
    sentence = "There are masks of the images too: `--task segmentation` looks at those."
    findings = [Finding("note", "masks", sentence)] if masks else []
    return Layout("detection", words, _parts(train, val, test_of_coco(root)), None, findings)


def _with_labels(root: Path | str, task: str | None) -> Layout:
    is_table = "csv_file" in places(root, True)[0]
    words = "a table" if is_table else f"{_words(root)} with classes"
    parts = _parts(*places(root, True), test_place(root, True))
    return Layout(task or "classification", words, parts)


def _words(root: Path | str) -> str:
    kind = source_for(root)["type"]
    folder = "a folder of images"
    if isinstance(root, Path) and root.is_file():
        folder = "an image" if root.name.lower().endswith(IMAGE_EXTENSIONS) else "a list of images"
    names = {"FolderSource": folder, "ShardSource": "shards of prepare_dataset", "ArchiveSource": "archives of images"}
    names |= {"WebDatasetSource": "shards of WebDataset", "LmdbSource": "an LMDB of images"}
    names |= {
        "TableSource": "a table",
        "HuggingFaceSource": "a data set of Hugging Face",
        "RemoteSource": "images on another machine",
    }
    return names.get(kind, f"a {kind}")


def _parts(
    train: Mapping[str, Any], val: Mapping[str, Any], test: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the parts; images of the training part that are merely shown in pretraining are no part."""
    shown = {**train, "limit": val.get("limit")} == val
    parts = {"all": dict(train)} if shown and not test else {"train": dict(train)}
    parts |= {} if shown else {"val": dict(val)}
    return parts | ({"test": dict(test)} if test else {})


def _has_labels(root: Path | str) -> bool:
    """Return whether there is a table, or where the training images lie, two or more folders of classes."""
    train, _ = places(root, True)
    if "csv_file" in train:
        return True
    try:
        if "source" in train:
            return knows_labels(train["source"])
        where = Path(train["root"])
        return has_classes(where) and (not where.is_dir() or _class_folders(where) != 1)
    except UsageError:
        return False


def _class_folders(where: Path) -> int:
    return sum(path.is_dir() and not path.name.startswith(".") for path in where.iterdir())


def _has_coco(root: Path) -> bool:
    """Return whether the folder, its `annotations` or its folders of parts hold a JSON file as COCO's are."""
    files = [path for pattern in ("*.json", "*/*.json") for path in sorted(root.glob(pattern))]
    return any(map(_is_coco, files[:20]))


def _has_boxes(root: Path) -> bool:
    """Return whether there are images with a file of boxes each."""
    try:
        return any(holds_boxes(files) for _, files in object_parts(root).values())
    except UsageError:
        return False


def _is_coco(path: Path) -> bool:
    if path.stat().st_size > _LARGEST:
        return path.parent.name == "annotations" or "annotations" in path.stem
    try:
        content = json.loads(read_file(path))
    except (OSError, ValueError, RecursionError):
        return "annotation" in path.stem.lower()  # damaged, which the reader says
    return isinstance(content, dict) and len(_SECTIONS & content.keys()) >= 2
