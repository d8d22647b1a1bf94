"""COCO's annotation files as flat arrays, which the workers of a loader share; and datasets written as such files."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maetool.data.sources.packed.names import Names
from maetool.errors import UsageError
from maetool.writing import write_picture, write_text

from ..detection import ObjectDataset
from .coco_json import load_coco, places_of, text_of
from .doubts import doubts_about
from .masks import why_not_drawn

Id = int | str


@dataclass(frozen=True)
class Ids:
    """Ids as a file gives them: whole numbers, or text, also both in turn.

    Attributes:
        values: int64 (N,), or packed JSON where one is text.
    """

    values: np.ndarray | Names

    @classmethod
    def of(cls, ids: Sequence[Any]) -> "Ids":
        """Pack ids."""
        if any(isinstance(identity, str) for identity in ids):
            return cls(Names.of([json.dumps(identity).encode() for identity in ids]))
        return cls(np.array([int(identity) for identity in ids], np.int64))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, place: int) -> Id:
        return int(self.values[place]) if isinstance(self.values, np.ndarray) else json.loads(self.values[place])


@dataclass(frozen=True)
class CocoFile:
    """What an annotation file says, checked. N images in the order of the file, M annotations in the order of these.

    Attributes:
        path: the file.
        image_ids, files, sizes: ids and names (N) of the images, and their heights and widths, int32 (N, 2).
        starts: int64 (N + 1), where the annotations of each image begin.
        ids, boxes, areas: of the annotations; boxes, float64 (M, 4), are left, top, width and height in pixels.
        labels: int32 (M,), 0 to K - 1.
        crowd, flat, undrawn: bool (M,): those of crowds; those whose box has no area inside of its image; and those
            whose outline is missing, cannot be drawn or covers no pixel.
        outlines: JSON of the segmentations (M).
        classes: names of the categories, in the order of their ids.
        category_ids: the id of each label.
        first_undrawn: why the first of `undrawn` cannot be drawn.
    """

    path: str
    image_ids: Ids
    files: Names
    sizes: np.ndarray
    starts: np.ndarray
    ids: Ids
    boxes: np.ndarray
    areas: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    flat: np.ndarray
    undrawn: np.ndarray
    outlines: Names
    classes: list[str]
    category_ids: list[Id]
    first_undrawn: str

    def places(self, image: int) -> range:
        """Return the places of the annotations of an image."""
        return range(int(self.starts[image]), int(self.starts[image + 1]))

    def learned(self, with_masks: bool) -> np.ndarray:
        """Return which annotations can be learned from, bool (M,): `with_masks`, those whose outline can be drawn."""
        usable: np.ndarray = ~self.crowd & ~self.flat
        return usable & ~self.undrawn if with_masks else usable

    def outline(self, place: int) -> Any:
        """Return the segmentation of the annotation at `place`, None if there is none."""
        return json.loads(self.outlines[place])

    def entries(self, images: Sequence[int], with_masks: bool) -> dict[str, Any]:
        """Return some of the images as an annotation file has them, with what detections are scored against.

        Boxes of no area are left out. An object whose outline cannot be drawn is a crowd of its box where masks are
        wanted: it is there, but nobody knows where exactly, so what is detected in it is neither right nor wrong.

        Args:
            images: their places in the file.
            with_masks: with the outlines of objects.
        """
        categories = [{"id": i, "name": name} for i, name in zip(self.category_ids, self.classes, strict=True)]
        listed = [
            {"id": self.image_ids[image], "file_name": self.files[image]}
            | dict(zip(("height", "width"), self.sizes[image].tolist(), strict=True))
            for image in images
        ]
        annotations = [entry for image in images for entry in self._annotations(image, with_masks)]
        return {"categories": categories, "images": listed, "annotations": annotations}

    def _annotations(self, image: int, with_masks: bool) -> Iterator[dict[str, Any]]:
        for place in self.places(image):
            if self.flat[place]:
                continue
            left, top, width, height = box = self.boxes[place].tolist()
            entry = {"id": self.ids[place], "image_id": self.image_ids[image], "bbox": box}
            entry |= {"category_id": self.category_ids[self.labels[place]], "area": float(self.areas[place])}
            unclear = with_masks and bool(self.undrawn[place])
            entry["iscrowd"] = int(self.crowd[place] or unclear)
            corners = [left, top, left + width, top, left + width, top + height, left, top + height]
            entry["segmentation"] = [corners] if unclear else self.outline(place)
            yield entry

    def describe(self, images: Sequence[int], with_masks: bool) -> str:
        """Return sentences on what some of the images hold, and on what the file has that is not learned from.

        Args:
            images: where the images stand in the file.
            with_masks: whether masks are learned.
        """
        learned = self.learned(with_masks)
        counts = [int(learned[self.starts[image] : self.starts[image + 1]].sum()) for image in images]
        text = (
            f"{len(counts):,} images with {sum(counts):,} objects of {len(self.classes)} classes; "
            f"{counts.count(0):,} images without objects stay, as background."
        )
        if self.crowd.any():
            text += f" Crowds, {self.crowd.sum():,} in the file, are not trained on; what is found in them is forgiven."
        for marked, what in (
            (self.flat, "Boxes of no area inside of their image"),
            (self.undrawn & ~self.crowd & ~self.flat & with_masks, "Objects without an outline that can be drawn"),
        ):
            if marked.any():
                first = self.ids[int(marked.argmax())]
                text += f" {what}, {marked.sum():,} in the file (first: annotation {first}), are passed over."
        return text + self._describe_unused(learned) + self._describe_doubts()

    def _describe_unused(self, learned: np.ndarray) -> str:
        times = np.bincount(self.labels[learned], minlength=len(self.classes))
        unused = [f"`{name}`" for name, number in zip(self.classes, times, strict=True) if not number]
        rest = f" and {len(unused) - 5} more" if len(unused) > 5 else ""
        return f" No object in the file is of {', '.join(unused[:5])}{rest}." if unused else ""

    def _describe_doubts(self) -> str:
        sides = np.repeat(self.sizes[:, ::-1], np.diff(self.starts), axis=0)
        return doubts_about(self.boxes, sides, self.outline, [self.files[place] for place in range(len(self.files))])


def read_coco(path: str | Path) -> CocoFile:
    """Return the annotation file `path`, checked.

    Raises:
        UsageError: a file that cannot be read or is no such file, or an entry of another kind; and see `coco_file_of`.
    """
    return coco_file_of(load_coco(Path(path)), path)


def coco_file_of(content: Mapping[str, Any], path: str | Path) -> CocoFile:
    """Return the checked `content` of the annotation file at `path` as flat arrays.

    Raises:
        UsageError: an id or the name of a category twice, or an annotation of an image or a category that there is not.
    """
    images, annotations = content["images"], content["annotations"]
    image_at = places_of(images, "image", path)
    labels, category_ids, classes = _classes(content["categories"], path)
    places_of(annotations, "annotation", path)
    for annotation in annotations:
        _check_links(annotation, image_at, labels, path)
    owners = np.array([image_at[text_of(each["image_id"])] for each in annotations], np.int64)
    order = np.argsort(owners, kind="stable").tolist()
    annotations, owners = [annotations[place] for place in order], owners[order]
    sizes = np.array([(entry["height"], entry["width"]) for entry in images], np.int32).reshape(-1, 2)
    crowd = np.array([each["iscrowd"] for each in annotations], bool)
    boxes = np.array([each["bbox"] for each in annotations], np.float64).reshape(-1, 4)
    reasons = [_why_not_drawn(each, sizes[owner]) for each, owner in zip(annotations, owners, strict=True)]
    return CocoFile(
        path=str(path),
        image_ids=Ids.of([entry["id"] for entry in images]),
        files=Names.of([entry["file_name"].encode("utf-8", "surrogateescape") for entry in images]),
        sizes=sizes,
        starts=np.searchsorted(owners, np.arange(len(images) + 1)),
        ids=Ids.of([each["id"] for each in annotations]),
        boxes=boxes,
        areas=np.array([each["area"] for each in annotations], np.float64),
        labels=np.array([labels[text_of(each["category_id"])] for each in annotations], np.int32),
        crowd=crowd,
        flat=~crowd & _is_flat(boxes, sizes[owners]),
        undrawn=np.array([reason is not None for reason in reasons], bool),
        outlines=Names.of([json.dumps(each.get("segmentation")).encode() for each in annotations]),
        classes=classes,
        category_ids=category_ids,
        first_undrawn=next(filter(None, reasons), ""),
    )


def _classes(categories: Sequence[Mapping[str, Any]], path: str | Path) -> tuple[dict[str, int], list[Id], list[str]]:
    """Return the text of each category's id to its label, and ids and names in the order of the labels."""
    places_of(categories, "category", path)
    ordered = sorted(categories, key=lambda entry: (isinstance(entry["id"], str), entry["id"]))
    names = [str(entry["name"]) for entry in ordered]
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise UsageError(
            f"{path} has {times} categories of the name `{name}`: give each a name of its own, or join them."
        )
    ids = [entry["id"] if isinstance(entry["id"], str) else int(entry["id"]) for entry in ordered]
    return {text_of(identity): label for label, identity in enumerate(ids)}, ids, names


def _check_links(
    annotation: Mapping[str, Any], images: Mapping[str, int], labels: Mapping[str, int], path: str | Path
) -> None:
    start = f"{path}: annotation {annotation['id']}"
    if text_of(annotation["image_id"]) not in images:
        raise UsageError(
            f"{start} is of the image {annotation['image_id']}, which is not listed: add the image, or remove the "
            "annotation."
        )
    if text_of(annotation["category_id"]) not in labels:
        known = ", ".join(list(labels)[:10])
        raise UsageError(
            f"{start} is of the category {annotation['category_id']}, but the categories are {known}"
            f"{' and more' if len(labels) > 10 else ''}: add the category, or correct the annotation."
        )


def _is_flat(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return which boxes have no area inside of their images, whose heights and widths are `sizes` (M, 2)."""
    ends = np.minimum(boxes[:, :2] + boxes[:, 2:], sizes[:, ::-1])
    flat: np.ndarray = (ends <= np.maximum(boxes[:, :2], 0)).any(axis=1)
    return flat


def _why_not_drawn(annotation: Mapping[str, Any], size: np.ndarray) -> str | None:
    reason = why_not_drawn(annotation.get("segmentation"), (int(size[0]), int(size[1])))
    return reason and f"annotation {annotation['id']}: {reason}"


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
        raise UsageError(f"{annotations} exists already: name another folder.")
    content = dataset.coco()
    for index, entry in enumerate(content["images"]):
        pixels = dataset.load(index)["inputs"]
        if pixels.dtype != torch.uint8 or len(pixels) not in (1, 3):
            raise UsageError(f"Images of {len(pixels)} channels of {pixels.dtype} cannot be PNG files: set in_chans=3.")
        array = pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)
        write_picture(images / entry["file_name"], np.ascontiguousarray(array.numpy()), "PNG", durable=False)
    write_text(annotations, json.dumps(content))
    return images, annotations
