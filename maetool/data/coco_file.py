"""COCO's annotation files: read, checked and written."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from maetool.errors import UsageError

from .objects import ObjectDataset

_NEEDED = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
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
        UsageError: a file that cannot be read or is no such file, an id twice, an annotation of an image or a category
            that there is not, or a box that is none.
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
    return CocoFile(str(path), content, names, label_of, list(objects.values()), crowds, flat)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): name a COCO annotation file.") from error
    except ValueError as error:
        raise UsageError(f"{path} is no JSON file ({error}): name a COCO annotation file.") from error
    for section, keys in _NEEDED.items():
        entries = content.get(section) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise UsageError(f"{path} has no list `{section}`{_EXAMPLE}.")
        for place, entry in enumerate(entries):
            missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
            if missing:
                raise UsageError(f"{path}: entry {place} of `{section}` has no `{missing[0]}`{_EXAMPLE}.")
    if not content["images"] or not content["categories"]:
        raise UsageError(f"{path} lists {len(content['images'])} images and {len(content['categories'])} categories.")
    return content


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
    box = annotation["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(type(v) in (int, float) and isfinite(v) for v in box):
        raise UsageError(f"{start} has the bbox {box}, but it must be left, top, width and height in pixels.")


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
    images.mkdir(parents=True, exist_ok=True)
    content = dataset.coco()
    for index, entry in enumerate(content["images"]):
        pixels = dataset.load(index)["inputs"]
        if pixels.dtype != torch.uint8 or len(pixels) not in (1, 3):
            raise UsageError(f"Images of {len(pixels)} channels of {pixels.dtype} cannot be PNG files: set in_chans=3.")
        array = pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)
        Image.fromarray(np.ascontiguousarray(array.numpy())).save(images / entry["file_name"])
    annotations.write_text(json.dumps(content))
    return images, annotations
