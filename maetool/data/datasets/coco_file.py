"""COCO's annotation files: read, checked and written."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maetool.errors import UsageError
from maetool.reading import read_file
from maetool.writing import write_picture, write_text

from .detection import ObjectDataset


def _is_whole(value: Any) -> bool:
    return (type(value) is int and abs(value) < 2**63) or (type(value) is float and value.is_integer())


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**31


def _is_path(value: Any) -> bool:
    try:
        return isinstance(value, str) and 0 not in os.fsencode(value) and bool(value)
    except UnicodeEncodeError:  # half of a character, which JSON can hold
        return False


def _is_name(value: Any) -> bool:
    return type(value) in (int, float) or (isinstance(value, str) and value.splitlines() == [value])


def _is_length(value: Any) -> bool:
    return type(value) in (int, float) and -1e9 < value < 1e9  # nor is NaN


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_length, value))


_ID, _SIDE = (_is_whole, "a whole number"), (_is_side, "a whole number of pixels, at least 1")
_BOX = (_is_box, "left, top, width and height in pixels")
_NEEDED = {
    "images": {"id": _ID, "file_name": (_is_path, "a path"), "height": _SIDE, "width": _SIDE},
    "annotations": {"id": _ID, "image_id": _ID, "category_id": _ID, "bbox": _BOX},
    "categories": {"id": _ID, "name": (_is_name, "a name of one line")},
}
_EXAMPLE = "; a COCO annotation file has lists of images, annotations and categories"


@dataclass(frozen=True)
class CocoFile:
    """What an annotation file says, checked.

    Attributes:
        path: the file.
        content: as in the file.
        classes: names of the categories, in the order of their ids.
        label_of: category id to label, 0 to K - 1.
        objects: for each image, in the order of the file, its annotations that can be trained on: those of crowds and
            of no area are left out.
        crowds, flat: how many annotations are of crowds, and ids of those of no area.
    """

    path: str
    content: dict[str, Any]
    classes: list[str]
    label_of: dict[int, int]
    objects: list[list[dict[str, Any]]]
    crowds: int
    flat: list[int]

    def describe(self, numbers: Sequence[int]) -> str:
        """Return a sentence on what some of the images hold, and on what the whole file has that is not trained on.

        Args:
            numbers: where the images stand in the file.
        """
        counts = [len(self.objects[number]) for number in numbers]
        said = (
            f"{len(counts):,} images with {sum(counts):,} objects of {len(self.classes)} classes; "
            f"{counts.count(0):,} images without objects stay, as background."
        )
        if self.crowds:
            said += f" Crowds, {self.crowds:,} in the file, are not trained on; what is found in them is forgiven."
        if self.flat:
            said += (
                f" Boxes of no area, {len(self.flat):,} in the file (first: annotation {self.flat[0]}), are not either."
            )
        return said


def read_coco(path: str | Path) -> CocoFile:
    """Return a checked annotation file.

    Raises:
        UsageError: a file that cannot be read or is no such file, an entry of another kind, an id or the name of a
            category twice, or an annotation of an image or a category that there is not.
    """
    content = _load(Path(path))
    images = _by_id(content["images"], "image", path)
    categories = _by_id(content["categories"], "category", path)
    _by_id(content["annotations"], "annotation", path)
    label_of = {identity: label for label, identity in enumerate(sorted(categories))}
    objects: dict[int, list[dict[str, Any]]] = {identity: [] for identity in images}
    crowds, flat = 0, []
    for annotation in content["annotations"]:
        _check_annotation(annotation, images, categories, path)
        annotation.setdefault("iscrowd", 0)  # both are asked for by the evaluator
        annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])
        if annotation["iscrowd"]:
            crowds += 1
        elif min(annotation["bbox"][2:]) <= 0:
            flat.append(annotation["id"])
        else:
            objects[annotation["image_id"]].append(annotation)
    names = [str(categories[identity]["name"]) for identity in label_of]
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise UsageError(
            f"{path} has {times} categories of the name `{name}`: give each a name of its own, or join them."
        )
    return CocoFile(str(path), content, names, label_of, list(objects.values()), crowds, flat)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_file(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): name a COCO annotation file.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON file ({error}): name a COCO annotation file.") from error
    for section, kinds in _NEEDED.items():
        entries = content.get(section) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise UsageError(f"{path} has no list `{section}`{_EXAMPLE}.")
        for place, entry in enumerate(entries):
            missing = [key for key in kinds if not isinstance(entry, dict) or key not in entry]
            if missing:
                raise UsageError(f"{path}: entry {place} of `{section}` has no `{missing[0]}`{_EXAMPLE}.")
            for key, (fits, kind) in kinds.items():
                if not fits(entry[key]):
                    raise _of_another_kind(f"{path}: entry {place} of `{section}`", key, entry[key], kind)
    if not content["images"] or not content["categories"]:
        raise UsageError(f"{path} lists {len(content['images'])} images and {len(content['categories'])} categories.")
    return content


def _of_another_kind(start: str, key: str, value: Any, kind: str) -> UsageError:
    shown = (
        repr(value) if isinstance(value, str | float | int | list) and len(str(value)[:100]) < 100 else "something long"
    )
    return UsageError(f"{start} has the {key} {shown}, but it must be {kind}.")


def _by_id(entries: Sequence[Mapping[str, Any]], kind: str, path: str | Path) -> dict[int, Mapping[str, Any]]:
    found = {entry["id"]: entry for entry in entries}
    if len(found) < len(entries):
        seen: set[int] = set()
        twice = next(entry["id"] for entry in entries if entry["id"] in seen or seen.add(entry["id"]))
        raise UsageError(f"{path}: the {kind} id {twice} is given twice: give each {kind} an id of its own.")
    return found


def _check_annotation(
    annotation: Mapping[str, Any], images: Mapping[int, Any], categories: Mapping[int, Any], path: str | Path
) -> None:
    start = f"{path}: annotation {annotation['id']}"
    if annotation["image_id"] not in images:
        raise UsageError(
            f"{start} is of the image {annotation['image_id']}, which is not listed: add the image or remove it."
        )
    if annotation["category_id"] not in categories:
        known = ", ".join(str(identity) for identity in sorted(categories)[:10])
        raise UsageError(
            f"{start} is of the category {annotation['category_id']}, but the categories are {known}"
            f"{' and more' if len(categories) > 10 else ''}: list it or correct the annotation."
        )
    if annotation.get("iscrowd", 0) not in (0, 1):
        raise _of_another_kind(start, "iscrowd", annotation["iscrowd"], "0 or 1")
    area = annotation.get("area", 0)
    if type(area) not in (int, float) or not abs(area) < 1e18:
        raise _of_another_kind(start, "area", area, "a number of pixels")


def write_coco(dataset: ObjectDataset, folder: str | Path) -> tuple[Path, Path]:
    """Write a dataset of objects as PNG files and an annotation file, which `CocoDataset` reads back unchanged.

    Args:
        dataset: images of 8 bits and one or three channels; its transforms are not applied.
        folder: its `images` and `annotations.json` are written.

    Returns:
        The folder of the images and the annotation file.

    Raises:
        UsageError: `folder` has an annotation file already, or the images are no photographs.
    """
    folder = Path(folder)
    images, annotations = folder / "images", folder / "annotations.json"
    if annotations.exists():
        raise UsageError(f"{annotations} is there already: name another folder.")
    content = dataset.coco()
    for index, entry in enumerate(content["images"]):
        pixels = dataset.load(index)["inputs"]
        if pixels.dtype != torch.uint8 or len(pixels) not in (1, 3):
            raise UsageError(f"Images of {len(pixels)} channels of {pixels.dtype} cannot be PNG files: set in_chans=3.")
        array = pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)
        write_picture(images / entry["file_name"], np.ascontiguousarray(array.numpy()), "PNG", durable=False)
    write_text(annotations, json.dumps(content))
    return images, annotations
