"""Object detections for image files: predicted, drawn and recorded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maetool.data.codecs.image_size import MAX_PIXELS
from maetool.data.codecs.images import UnreadableImage, read_image
from maetool.data.datasets.coco_masks import encode_mask
from maetool.data.objects import Objects
from maetool.data.transforms.boxes import FitObjects
from maetool.data.transforms.sample import entries_of, plain
from maetool.errors import UsageError
from maetool.visualization.boxes import draw_objects
from maetool.visualization.reconstruction import displayable

from .model import image_shape_of


@torch.no_grad()
def find_objects(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """Return the objects that a detector finds in an image (C, H, W), in pixels of it, on the CPU.

    The image is resized to fit into the size that the model was built for, as in the evaluation.

    Returns:
        `boxes` (N, 4), `labels` (N,), `scores` (N,), highest first, and with masks `masks`, bool (N, H, W).
    """
    size = (image.shape[1], image.shape[2])
    nothing = Objects(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), None)
    fitted = FitObjects(image_shape_of(model)[1:])({"inputs": image, **entries_of(nothing, size)})
    batch = {
        "inputs": plain(fitted["inputs"])[None],
        "content": torch.tensor([fitted["content"]]),
        "original_size": torch.tensor([size]),
    }
    (found,) = model(**model.data_preprocessor(batch), mode="predict")
    return {name: value.cpu() for name, value in found.items()}


def predict_objects(
    model: nn.Module,
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
        threshold: least score of what is drawn and told.
        max_pixels: most pixels of the image, see `maetool.data.codecs.images.decode_image`.

    Returns:
        The image with boxes, names, scores and masks, uint8 RGB (rows, columns, 3), and what JSON can hold: `image`,
        `height`, `width` and `objects`, each with `class`, `score`, `box` (left, top, right, bottom in pixels) and
        with masks `mask`, COCO's compressed run lengths.

    Raises:
        UsageError: the image cannot be read, a threshold outside of 0 to 1, or other classes than the model has.
    """
    if not 0 <= threshold <= 1:
        raise UsageError(f"threshold is {threshold!r}, but must be a score from 0 to 1.")
    if len(classes) != model.num_classes:
        raise UsageError(f"There are names for {len(classes)} classes, but the model tells {model.num_classes} apart.")
    try:
        image = read_image(path, image_shape_of(model)[0], max_pixels)
    except UnreadableImage as error:
        raise UsageError(f"The image cannot be read: {error}.") from error
    found = find_objects(model, image)
    sure = found["scores"] >= threshold
    found = {name: value[sure] for name, value in found.items()}
    shown = displayable(image[None].float(), image[None])[0].permute(2, 0, 1)
    told = {"image": str(path), "height": image.shape[1], "width": image.shape[2], "objects": _told(found, classes)}
    return draw_objects(shown, found, classes), told


def _told(found: dict[str, Tensor], classes: Sequence[str]) -> list[dict[str, Any]]:
    objects = []
    rows = zip(found["boxes"].tolist(), found["labels"].tolist(), found["scores"].tolist(), strict=True)
    for place, (box, label, score) in enumerate(rows):
        objects.append({"class": classes[label], "score": round(score, 4), "box": [round(side, 2) for side in box]})
        if "masks" in found:
            objects[-1]["mask"] = encode_mask(found["masks"][place])
    return objects
