"""Locates images and annotations in a folder of COCO files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maetool.errors import UsageError

# Usual names of parts, the first that is there counts.
_TRAINING, _VALIDATION, _TEST = ("train", "training"), ("val", "valid", "validation", "dev"), ("test", "testing")
_NOT_THESE = ("person_keypoints", "captions", "image_info", "panoptic", "stuff")  # what else COCO publishes
_USUAL = "annotations.json"


def coco_places(root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of a training and of a validation dataset with the user's COCO annotations.

    Three layouts are known, with files of any name that ends in `.json`: a folder `annotations` with a file for each
    part beside the folders of their images, as COCO is published (`annotations/instances_train2017.json`, `train2017`);
    a folder for each part with its annotation file, its images in `images` or beside it; and one annotation file, in
    the folder or in `annotations`. Of one file, and of a training part without a validation part, a fifth of the
    images is held out for validation; a test part is left alone.

    Args:
        root: the user's folder.

    Raises:
        UsageError: the folder has none of these layouts, or several annotation files without a sign which counts.
    """
    for layout in (_published, _own):
        train, val = (layout(root, names) for names in (_TRAINING, _VALIDATION))
        if train:
            return (train, val) if val else _held_out(train)
    single = _one_of(_annotations_in(root) or _annotations_in(root / "annotations"), root)
    if single is None:
        raise UsageError(
            f"{root} holds no COCO annotations: expected {root / _USUAL} and {root / 'images'}, or the same in folders "
            f"train and val, or {root}/annotations/instances_train2017.json and {root}/train2017, and the same of "
            "val2017."
        )
    return _held_out(_coco(_images_of(root), single))


def test_of_coco(root: Path) -> dict[str, Any] | None:
    """Return the arguments of a dataset of the test part, of which training makes no use; None if there is none.

    Raises:
        UsageError: several annotation files without a sign which counts.
    """
    return _published(root, _TEST) or _own(root, _TEST)


def _published(root: Path, names: Sequence[str]) -> dict[str, Any] | None:
    """Return the place of a part whose file is in `annotations`."""
    files = _annotations_in(root / "annotations")
    for name in names:
        of_part = [path for path in files if name in _words(path.stem)]
        if of_part:
            path = _one_of(of_part, root)
            assert path is not None
            return _coco(_folder_of(root, path, name), path)
    return None


def _own(root: Path, names: Sequence[str]) -> dict[str, Any] | None:
    """Return the place of a part with a folder of its own."""
    for folder in (path for name in names for path in sorted(root.glob("*")) if path.name.lower() == name):
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


def _words(stem: str) -> list[str]:
    """Return the words of a file's name in lower case, without years: `instances_train2017` gives instances, train."""
    text = "".join(letter.lower() if letter.isalpha() else " " for letter in stem)
    return text.split()


def _folder_of(root: Path, annotations: Path, name: str) -> Path:
    """Return the folder of a part's images in `root` or `images`: that of the end of its file's name, or its own."""
    ending = annotations.stem.rsplit("_", 1)[-1]
    places = [parent / folder for parent in (root, root / "images") for folder in (ending, name)]
    return next((place for place in (*places, root / "images") if place.is_dir()), places[0])


def _held_out(place: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return {**place, "part": "train"}, {**place, "part": "val"}


def _images_of(folder: Path) -> Path:
    """Return `images` where it is there, or else the folder itself, which also holds the annotations."""
    return folder / "images" if (folder / "images").is_dir() else folder


def _coco(images: Path, annotations: Path) -> dict[str, Any]:
    return {"type": "CocoDataset", "root": str(images), "annotations": str(annotations)}
