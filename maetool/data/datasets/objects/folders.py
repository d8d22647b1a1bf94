"""Objects in a file for each image: what YOLO's and Pascal VOC's layouts share."""

import os
from collections.abc import Iterator
from typing import Any

from maetool.data.codecs.encoded import open_image, size_of
from maetool.data.codecs.image_size import Refused, photo_size
from maetool.data.codecs.images import UnreadableImage, read_bytes
from maetool.data.codecs.jpeg import read_header
from maetool.data.codecs.orientation import orientation_of
from maetool.data.sources.file_index import FileIndex, index_files
from maetool.errors import UsageError
from maetool.reading import read_head

Entry = dict[str, Any]
_HEAD = 2**16  # bytes, in which nearly all photographs say their size and how they are turned


def images_with_files(root: str, folder: str, ending: str) -> Iterator[tuple[str, str | None]]:
    """Yield the name of each image below `root`, and of its file below `folder`, None without one.

    The files have the names of the images with another ending, in the same folders below.

    Args:
        root: folder of the images.
        folder: folder of the files, which may be the same.
        ending: of the files, such as ".txt".

    Raises:
        UsageError: no image, or not one that has a file.
    """
    index = index_files(root)
    names = [index.relative(place) for place in range(len(index))]
    files = [os.path.splitext(name)[0] + ending for name in names]
    exist = [os.path.isfile(os.path.join(folder, file)) for file in files]
    if not any(exist):
        raise UsageError(
            f"None of the {len(names)} images in {root} has a file of objects in {folder} (first: {files[0]} for "
            f"{names[0]}): set root to the folder of the images and annotations to that of their files."
        )
    for name, file, there in zip(names, files, exist, strict=True):
        yield name, file if there else None


def files_of(root: str, folder: str, ending: str) -> list[str]:
    """Return all that the objects of a folder depend on: its folders, those of the images, and its files.

    Args:
        root: folder of the images.
        folder: of the files with objects.
        ending: of these files, in lower case.
    """
    index: FileIndex = index_files(root)
    images = {os.path.dirname(index.path(place)) for place in range(len(index))}
    paths: list[str] = [*images, root]
    for place, _, names in os.walk(folder):
        paths += [place, *(os.path.join(place, name) for name in sorted(names) if name.lower().endswith(ending))]
    return sorted(set(paths))


def seen_size(path: str) -> tuple[int, int]:
    """Return height and width of the image `path` as viewers show it, turned by its EXIF; (1, 1) if unreadable.

    Loading it says what is wrong, and counts it as broken.
    """
    head = read_head(path, _HEAD)
    try:
        size, turn = photo_size(head), orientation_of(head, read_header(head))
    except Refused:
        try:
            data = read_bytes(path)
            size, turn = size_of(open_image(data, path, 3)), orientation_of(data, read_header(data))
        except (Refused, UnreadableImage):
            return 1, 1
    return (size[1], size[0]) if turn >= 5 else size


def entry_of(image: str, size: tuple[int, int], category: int, box: list[float], polygon: list[float] | None) -> Entry:
    """Return an annotation as COCO has it.

    Args:
        image: its id.
        size: height and width of the image.
        category: id of the class.
        box: left, top, right and bottom in pixels, cut at the edges of the image.
        polygon: x and y of each corner in pixels, or None.
    """
    height, width = size
    left, right = (min(max(x, 0.0), float(width)) for x in (box[0], box[2]))
    top, bottom = (min(max(y, 0.0), float(height)) for y in (box[1], box[3]))
    entry: Entry = {"image_id": image, "category_id": category, "bbox": [left, top, right - left, bottom - top]}
    entry |= {"area": (right - left) * (bottom - top), "iscrowd": False}
    return entry if polygon is None else {**entry, "segmentation": [polygon]}


def content_of(images: list[Entry], annotations: list[Entry], classes: list[str]) -> dict[str, Any]:
    """Return what a COCO annotation file of these would hold; the id of a class is its number.

    Args:
        images: see `image_entry`.
        annotations: entries of objects, which get an `id`.
        classes: names.
    """
    for number, entry in enumerate(annotations):
        entry["id"] = number
    categories = [{"id": number, "name": name} for number, name in enumerate(classes)]
    return {"images": images, "annotations": annotations, "categories": categories}


def image_entry(root: str, name: str, size: tuple[int, int]) -> Entry:
    """Return the entry of the image `name`, which is its id, of `size` (H, W) in the folder `root`."""
    return {"id": name, "file_name": name, "height": size[0], "width": size[1]}
