"""Locates images and annotations in a folder of COCO files, or of YOLO's or Pascal VOC's layout."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maetool.data.sources.part_names import part_among, part_of
from maetool.errors import UsageError

from .objects import object_lists, object_parts

_NOT_THESE = ("person_keypoints", "captions", "image_info", "panoptic", "stuff")  # what else COCO publishes
_USUAL = "annotations.json"


def coco_places(root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of a training and of a validation dataset with the user's annotations.

    Three layouts of COCO are known, with files of any name that ends in `.json`: a folder `annotations` with a file for
    each part beside the folders of their images, as COCO is published (`annotations/instances_train2017.json`,
    `train2017`); a folder for each part with its annotation file, its images in `images` or beside it; and one
    annotation file, in the folder or in `annotations`. Folders with a file for each image are found as `object_parts`
    says. Of one file, and of a training part without a validation part, a fifth of the images is held out for
    validation; a test part is left alone.

    Args:
        root: the user's folder.

    Raises:
        UsageError: the folder has none of these layouts, or several annotation files without a sign which counts.
    """
    for layout in (_published, _own):
        train, val = (layout(root, part) for part in ("train", "val"))
        if train:
            return (train, val) if val else _held_out(train)
    single = _one_of(_annotations_in(root) or _annotations_in(root / "annotations"), root)
    return _held_out(_coco(_images_of(root), single)) if single else _in_folders(root)


def _in_folders(root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the places of annotations with a file for each image."""
    places = _places_in_folders(root)
    train = places.get("train", places.get("all"))
    if train is None:
        raise UsageError(
            f"{root} holds no annotations: expected {root / _USUAL} and {root / 'images'}, or the same in folders "
            f"train and val; or {root}/annotations/instances_train2017.json and {root}/train2017, and the same of "
            "val2017; or images and labels of YOLO, such as images/train, labels/train and data.yaml; or JPEGImages "
            "and Annotations."
        )
    return (train, places["val"]) if "val" in places else _held_out(train)


def _places_in_folders(root: Path) -> dict[str, dict[str, Any]]:
    """Return the place of each part of annotations with a file for each image, or of "all" that has no parts."""
    places = {part: _coco(images, files) for part, (images, files) in object_parts(root).items()}
    lists = object_lists(root) if "all" in places else {}
    return {part: {**places["all"], "names": str(path)} for part, path in lists.items()} or places


def test_of_coco(root: Path) -> dict[str, Any] | None:
    """Return the arguments of a dataset of the test part, of which training makes no use; None if there is none.

    Args:
        root: the user's folder.

    Raises:
        UsageError: several annotation files without a sign which counts.
    """
    place = _published(root, "test") or _own(root, "test")
    return place or _places_in_folders(root).get("test")


def _published(root: Path, part: str) -> dict[str, Any] | None:
    """Return the place of a part whose file is in `annotations`."""
    path = _one_of([path for path in _annotations_in(root / "annotations") if part_among(path.stem) == part], root)
    return _coco(_folder_of(root, path, part), path) if path else None


def _own(root: Path, part: str) -> dict[str, Any] | None:
    """Return the place of a part with a folder of its own."""
    for folder in (path for path in sorted(root.glob("*")) if part_of(path.name) == part and path.is_dir()):
        path = _one_of(_annotations_in(folder), folder)
        if path:
            return _coco(_images_of(folder), path)
    return None


def _annotations_in(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".json" and path.is_file())
    return [path for path in files if not path.name.startswith(_NOT_THESE)]


def _one_of(files: Sequence[Path], folder: Path) -> Path | None:
    usual = [path for path in files if path.name == _USUAL]
    if len(files) > 1 and not usual:
        names = ", ".join(path.name for path in files[:5])
        raise UsageError(
            f"{folder} has {len(files)} files that may hold the annotations, {names}: call the one that counts "
            f"{_USUAL}, or set root and annotations of the dataset."
        )
    return next(iter(usual or files), None)


def _folder_of(root: Path, annotations: Path, part: str) -> Path:
    """Return the folder of a part's images in `root` or `images`: that of the end of its file's name, or its own."""
    ending = annotations.stem.rsplit("_", 1)[-1]
    places = [root / ending, root / "images" / ending]
    places += [
        path for parent in (root, root / "images") for path in sorted(parent.glob("*")) if part_of(path.name) == part
    ]
    return next((place for place in (*places, root / "images") if place.is_dir()), places[0])


def _held_out(place: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return {**place, "part": "train"}, {**place, "part": "val"}


def _images_of(folder: Path) -> Path:
    """Return `images` where it is there, or else the folder itself, which also holds the annotations."""
    return folder / "images" if (folder / "images").is_dir() else folder


def _coco(images: Path, annotations: Path) -> dict[str, Any]:
    return {"type": "CocoDataset", "root": str(images), "annotations": str(annotations)}
