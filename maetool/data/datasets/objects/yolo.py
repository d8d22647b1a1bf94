"""Objects as YOLO writes them: a text file for each image, a line for each object.

A line is the number of a class and, as shares of width and height of the picture as viewers show it, either the centre,
width and height of a box, or x and y of each corner of a polygon (docs.ultralytics.com/datasets).
"""

import os
from pathlib import Path
from typing import Any

import yaml

from maetool.errors import UsageError
from maetool.reading import read_text

from .folders import Entry, content_of, entry_of, image_entry, images_with_files, seen_size

_LISTS = ("classes.txt", "obj.names", "classes.names", "labels.names")
_EXPECTED = "a number of a class, then 4 shares of a box or at least 3 corners of a polygon"
_SLACK = 0.01  # by which shares may lie outside of 0 to 1 after rounding
NO_LABELS = (*_LISTS, "train.txt", "val.txt", "test.txt", "notes.txt", "readme.txt", "readme.roboflow.txt")


def read_yolo(labels: str, root: str) -> dict[str, Any]:
    """Return the objects of a folder of labels as a COCO annotation file has them.

    An image without a file, or with an empty one, has no objects.

    Args:
        labels: folder of the text files.
        root: folder of the images.

    Raises:
        UsageError: no names of the classes, no file for any image, or a line of another form.
    """
    classes, keypoints = names_for(labels, root)
    images: list[Entry] = []
    annotations: list[Entry] = []
    for name, file in images_with_files(root, labels, ".txt"):
        size = seen_size(os.path.join(root, name))
        images.append(image_entry(root, name, size))
        for number, line in enumerate(_lines(os.path.join(labels, file)) if file else (), 1):
            if line.strip():
                where = f"{os.path.join(labels, str(file))}, line {number}"
                annotations.append(_entry(line, name, size, len(classes), keypoints, where))
    return content_of(images, annotations, classes)


def _lines(path: str) -> list[str]:
    return read_text(path, f"text with a line for each object, {_EXPECTED}").splitlines()


def _entry(line: str, name: str, size: tuple[int, int], classes: int, keypoints: bool, where: str) -> Entry:
    category, values = _numbers(line, where)
    if not 0 <= category < classes:
        raise UsageError(
            f"{where} is of the class {category}, but there are names for 0 to {classes - 1}: list its name, or "
            "correct the line."
        )
    if keypoints:  # which follow the box
        values = values[:4]
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise UsageError(f"{where} has {len(values) + 1} numbers, but expected {_EXPECTED}.")
    outside = [value for value in values if not -_SLACK <= value <= 1 + _SLACK]
    if outside:
        raise UsageError(
            f"{where} has the coordinate {outside[0]:g}, but coordinates are shares of the width and height of the "
            "image from 0 to 1: divide pixels by them."
        )
    height, width = size
    if len(values) == 4:
        x, y, w, h = values[0] * width, values[1] * height, values[2] * width, values[3] * height
        return entry_of(name, size, category, [x - w / 2, y - h / 2, x + w / 2, y + h / 2], None)
    xs, ys = [x * width for x in values[::2]], [y * height for y in values[1::2]]
    polygon = [value for corner in zip(xs, ys, strict=True) for value in corner]
    return entry_of(name, size, category, [min(xs), min(ys), max(xs), max(ys)], polygon)


def _numbers(line: str, where: str) -> tuple[int, list[float]]:
    try:
        category, *values = map(float, line.split())
        if category.is_integer():
            return int(category), values
    except ValueError:
        pass
    raise UsageError(f"{where} is {line.strip()[:80]!r}, but expected {_EXPECTED}.")


def names_for(labels: str, root: str) -> tuple[list[str], bool]:
    """Return the names of the classes, and whether keypoints follow the boxes.

    They stand in `data.yaml`, or another file of YAML with `names`, or in `classes.txt` or `obj.names` with a name a
    line, in the folder of the labels or of the images or up to two folders above.

    Args:
        labels: folder of the labels.
        root: folder of the images.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    places = [Path(labels), *list(Path(labels).parents)[:2], Path(root), *list(Path(root).parents)[:2]]
    for folder in dict.fromkeys(places):
        for path in sorted(folder.glob("*.y*ml")):
            content = read_yaml(path)
            if "names" in content:
                return _listed(content["names"], path), bool(content.get("kpt_shape"))
        for path in (folder / name for name in _LISTS):
            if path.is_file():
                names = [line.strip() for line in read_text(path, "a text file with a class a line").splitlines()]
                return _listed([name for name in names if name], path), False
    raise UsageError(
        f"The labels in {labels} have no names of their classes: put a file data.yaml with `names`, or classes.txt "
        "with a name a line, beside that folder."
    )


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Return the content of the YAML file `path`; empty if it holds no keys.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        content = yaml.safe_load(read_text(path, "YAML with the names of the classes"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no YAML ({' '.join(str(error).split())[:200]}): correct it.") from error
    return content if isinstance(content, dict) else {}


def _listed(names: Any, path: Path) -> list[str]:
    if isinstance(names, dict):
        try:
            numbered = {int(number): name for number, name in names.items()}
        except (TypeError, ValueError):
            numbered = {}
        names = [numbered.get(number) for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(type(name) in (str, int, float) for name in names):
        raise UsageError(f"{path} must give `names` as a list, or as numbers from 0 to names.")
    listed = [str(name) for name in names]
    if len(set(listed)) < len(listed):
        twice = next(name for name in listed if listed.count(name) > 1)
        raise UsageError(f"{path} gives the name `{twice}` to two classes: give each a name of its own.")
    return listed
