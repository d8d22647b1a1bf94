"""Object detections for image files: predicted, drawn and recorded."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maetool.data.codecs.image_size import MAX_PIXELS
from maetool.data.datasets.objects.masks import encode_mask
from maetool.data.objects import Objects
from maetool.data.transforms.boxes import FitObjects
from maetool.data.transforms.sample import entries_of, plain
from maetool.errors import UsageError
from maetool.protocols import ModelLike
from maetool.visualization.boxes import draw_objects
from maetool.visualization.reconstruction import displayable

from .model import picture_shape_of
from .reading import read_for

Found = tuple[dict[str, Tensor], tuple[int, int]]  # the objects of an image, and its height and width


def fitted(image: Tensor, size: Sequence[int]) -> dict[str, Any]:
    """Return a detector's inputs for an image (C, H, W): resized to fit into `size` (h, w), as in evaluation.

    Args:
        image: (C, H, W).
        size: the model's image size.
    """
    original = (image.shape[1], image.shape[2])
    nothing = Objects(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), None)
    sample = FitObjects(size)({"inputs": image, **entries_of(nothing, original)})
    return {"inputs": plain(sample["inputs"]), "content": sample["content"], "original_size": original}


def objects_in(model: ModelLike, batch: Sequence[Mapping[str, Any]]) -> list[Found]:
    """Return a detector's objects in images that `fitted` prepared, in pixels of the originals, on the CPU.

    Args:
        model: a detector in evaluation mode. With masks it sees one image at a time: those of several need much memory.
        batch: the images, their inputs of one shape.
    """
    number = 1 if getattr(model, "with_masks", False) else len(batch)
    found: list[Found] = []
    for start in range(0, len(batch), number):
        part = batch[start : start + number]
        inputs = {"inputs": torch.stack([each["inputs"] for each in part])}
        inputs |= {name: torch.tensor([each[name] for each in part]) for name in ("content", "original_size")}
        objects = model(**model.data_preprocessor(inputs), mode="predict")
        sizes = [each["original_size"] for each in part]
        found += [({name: v.cpu() for name, v in one.items()}, size) for one, size in zip(objects, sizes, strict=True)]
    return found


@torch.no_grad()
def find_objects(model: ModelLike, image: Tensor) -> dict[str, Tensor]:
    """Return a detector's objects in an image (C, H, W), in pixels of that image, on the CPU.

    The image is resized to fit into the model's image size, as in evaluation.

    Returns:
        `boxes` (N, 4), `labels` (N,), `scores` (N,), highest first, and with masks `masks`, bool (N, H, W).
    """
    return objects_in(model, [fitted(image, picture_shape_of(model)[1:])])[0][0]


def predict_objects(
    model: ModelLike,
    path: str | Path,
    classes: Sequence[str],
    threshold: float = 0.5,
    max_pixels: int = MAX_PIXELS,
    reading: Mapping[str, Any] | None = None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Find the objects in an image file.

    Args:
        model: a detector in evaluation mode.
        path: the image.
        classes: names of the labels.
        threshold: lowest score of an object that is reported, 0 to 1.
        max_pixels: largest number of pixels of the image, see `maetool.data.codecs.images.decode_image`.
        reading: how the file is read, see `maetool.pretrained.reading.reading_of`; by default as it is stored.

    Returns:
        The image with boxes, names, scores and masks, uint8 RGB (rows, columns, 3), and a JSON-serialisable record:
        `image`, `height`, `width` and `objects`, each with `class`, `score`, `box` (left, top, right, bottom in pixels)
        and with masks `mask`, COCO's compressed run lengths.

    Raises:
        UsageError: the image cannot be read, a threshold outside 0 to 1, or the wrong number of classes.
    """
    image = read_for(model, path, max_pixels, reading)
    found = sure(model, (find_objects(model, image), (image.shape[1], image.shape[2])), classes, threshold)
    return draw_found(image, found, classes), {"image": str(path), **record_of(found, classes)}


def sure(model: ModelLike, found: Found, classes: Sequence[str], threshold: float) -> Found:
    """Return the objects whose scores reach a threshold.

    Args:
        model: a detector.
        found: all objects of an image, and its size.
        classes: names of the labels.
        threshold: score from which a detection counts, 0 to 1.

    Raises:
        UsageError: a threshold out of range, or another number of names than classes.
    """
    if not 0 <= threshold <= 1:
        raise UsageError(f"threshold is {threshold!r}, but must be a score from 0 to 1.")
    if len(classes) != model.num_classes:
        raise UsageError(
            f"There are names for {len(classes)} classes, but the model has {model.num_classes}: pass a name for each."
        )
    objects, size = found
    chosen = objects["scores"] >= threshold
    return {name: value[chosen] for name, value in objects.items()}, size


def draw_found(image: Tensor, found: Found, classes: Sequence[str]) -> np.ndarray:
    """Return an image with objects in it, uint8 RGB (rows, columns, 3).

    Args:
        image: (C, H, W), as stored.
        found: the objects.
        classes: names of the labels.
    """
    shown = displayable(image[None].float(), image[None])[0].permute(2, 0, 1)
    return draw_objects(shown, found[0], classes)


def record_of(found: Found, classes: Sequence[str]) -> dict[str, Any]:
    """Return the height and width of an image and the objects in it, JSON-serialisable; see `predict_objects`.

    Args:
        found: the objects, and the size of the image.
        classes: names of the labels.
    """
    objects, (height, width) = found
    return {"height": height, "width": width, "objects": _records(objects, classes)}


def _records(detected: dict[str, Tensor], classes: Sequence[str]) -> list[dict[str, Any]]:
    objects = []
    rows = zip(detected["boxes"].tolist(), detected["labels"].tolist(), detected["scores"].tolist(), strict=True)
    for place, (box, label, score) in enumerate(rows):
        objects.append({"class": classes[label], "score": round(score, 4), "box": [round(side, 2) for side in box]})
        if "masks" in detected:
            objects[-1]["mask"] = encode_mask(detected["masks"][place])
    return objects
