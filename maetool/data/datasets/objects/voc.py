"""Objects as Pascal VOC has them: a file of XML for each image (host.robots.ox.ac.uk/pascal/VOC)."""

import os
from typing import Any
from xml.etree import ElementTree

from maetool.errors import UsageError
from maetool.reading import read_text

from .folders import Entry, content_of, entry_of, image_entry, images_with_files, seen_size

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_LONGEST = 2**24  # characters of a file


def read_voc(folder: str, root: str) -> dict[str, Any]:
    """Return the objects of a folder of XML files as a COCO annotation file has them.

    Classes are sorted by name. Pixels are counted from 1, and xmax and ymax are the last ones inside. A difficult
    object is a crowd: it is not trained on, and what is found there is neither right nor wrong, as in the published
    scores.

    Args:
        folder: folder of the files.
        root: folder of the images.

    Raises:
        UsageError: no file for any image, or one of another form.
    """
    images: list[Entry] = []
    objects: list[tuple[str, str, tuple[int, int], list[float], bool]] = []
    for name, file in images_with_files(root, folder, ".xml"):
        size = seen_size(os.path.join(root, name))
        images.append(image_entry(root, name, size))
        for kind, box, difficult in _objects(os.path.join(folder, file)) if file else ():
            objects.append((name, kind, size, box, difficult))
    classes = sorted({kind for _, kind, _, _, _ in objects})
    if not classes:
        raise UsageError(f"No file in {folder} has an object: give one to each image that shows any.")
    number = {kind: place for place, kind in enumerate(classes)}
    annotations = [
        {**entry_of(name, size, number[kind], box, None), "iscrowd": difficult}
        for name, kind, size, box, difficult in objects
    ]
    return content_of(images, annotations, classes)


def _objects(path: str) -> list[tuple[str, list[float], bool]]:
    """Return class, left, top, right and bottom in pixels, and whether it is difficult, of each object of a file."""
    text = read_text(path, "XML of an image's objects")
    try:
        if len(text) > _LONGEST or "<!ENTITY" in text:
            raise ElementTree.ParseError("too long, or with entities")
        tree = ElementTree.fromstring(text)
        return [_object(each) for each in tree.iter("object")]
    except (ElementTree.ParseError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(
            f"{path} is no file of Pascal VOC ({error}): each `object` has a `name` and a `bndbox` of "
            f"{', '.join(_SIDES)}."
        ) from error


def _object(entry: Any) -> tuple[str, list[float], bool]:
    name, box = str(entry.findtext("name") or "").strip(), entry.find("bndbox")
    if not name:
        raise ValueError("an object has no name")
    left, top, right, bottom = (float(box.findtext(side)) for side in _SIDES)
    difficult = str(entry.findtext("difficult") or "0").strip() not in ("0", "")
    return name, [left - 1, top - 1, right, bottom], difficult
