"""Object detections for image files: predicted, drawn and recorded."""

from collections.abc import Sequence
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


@torch.no_grad()
def find_objects(model: ModelLike, image: Tensor) -> dict[str, Tensor]:
    """Return a detector's objects in an image (C, H, W), in pixels of that image, on the CPU.

    The image is resized to fit into the model's image size, as in evaluation.

    Returns:
        `boxes` (N, 4), `labels` (N,), `scores` (N,), highest first, and with masks `masks`, bool (N, H, W).
    """
    size = (image.shape[1], image.shape[2])
    nothing = Objects(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), None)
    fitted = FitObjects(picture_shape_of(model)[1:])({"inputs": image, **entries_of(nothing, size)})
    batch = {
        "inputs": plain(fitted["inputs"])[None],
        "content": torch.tensor([fitted["content"]]),
        "original_size": torch.tensor([size]),
    }
    (objects,) = model(**model.data_preprocessor(batch), mode="predict")
    return {name: value.cpu() for name, value in objects.items()}


def predict_objects(
    model: ModelLike,
    path: str | Path,
    classes: Sequence[str],
    threshold: float = 0.5,
    max_pixels: int = MAX_PIXELS,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Find the objects in an image file.

    Args:
        model: a detector in evaluation mode.
        path: the image.
        classes: names of the labels.
        threshold: lowest score of an object that is reported, 0 to 1.
        max_pixels: largest number of pixels of the image, see `maetool.data.codecs.images.decode_image`.

    Returns:
        The image with boxes, names, scores and masks, uint8 RGB (rows, columns, 3), and a JSON-serialisable record:
        `image`, `height`, `width` and `objects`, each with `class`, `score`, `box` (left, top, right, bottom in pixels)
        and with masks `mask`, COCO's compressed run lengths.

    Raises:
        UsageError: the image cannot be read, a threshold outside 0 to 1, or the wrong number of classes.
    """
    return described_objects(model, read_for(model, path, max_pixels), path, classes, threshold)


def described_objects(
    model: ModelLike, image: Tensor, path: str | Path, classes: Sequence[str], threshold: float
) -> tuple[np.ndarray, dict[str, Any]]:
    """Do as `predict_objects` with an image (C, H, W) that was read from `path`.

    Args:
        model: a detector.
        image: (C, H, W), as stored.
        path: of the image.
        classes: names.
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
    objects = find_objects(model, image)
    sure = objects["scores"] >= threshold
    objects = {name: value[sure] for name, value in objects.items()}
    shown = displayable(image[None].float(), image[None])[0].permute(2, 0, 1)
    record = {
        "image": str(path),
        "height": image.shape[1],
        "width": image.shape[2],
        "objects": _records(objects, classes),
    }
    return draw_objects(shown, objects, classes), record


def _records(detected: dict[str, Tensor], classes: Sequence[str]) -> list[dict[str, Any]]:
    objects = []
    rows = zip(detected["boxes"].tolist(), detected["labels"].tolist(), detected["scores"].tolist(), strict=True)
    for place, (box, label, score) in enumerate(rows):
        objects.append({"class": classes[label], "score": round(score, 4), "box": [round(side, 2) for side in box]})
        if "masks" in detected:
            objects[-1]["mask"] = encode_mask(detected["masks"][place])
    return objects
