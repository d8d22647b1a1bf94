"""Pictures of objects: boxes, names, scores and masks over the image."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.utils import draw_segmentation_masks

from maetool.protocols import ModelLike

from .pictures import caption_font
from .reconstruction import displayable

# Colours that are easy to distinguish (Okabe and Ito, 2008), without black.
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
_MIN_SIDE, _GAP = 256, 6


def draw_objects(
    image: Tensor, objects: Mapping[str, Tensor], classes: Sequence[str], notes: Sequence[str] = ()
) -> np.ndarray:
    """Draw objects on an image, uint8 RGB (rows, columns, 3); small images are enlarged.

    Args:
        image: uint8 (3, H, W).
        objects: `boxes` (N, 4) in pixels and `labels` (N,), optionally `scores` (N,) and `masks`, bool (N, H, W).
        classes: names of the labels.
        notes: a word before the name of each of the N objects, which may be empty; without any, there are only names.
    """
    scale = max(1, _MIN_SIDE // min(image.shape[1:]))
    labels, masks = objects["labels"].tolist(), objects.get("masks")
    colours = [_COLOURS[label % len(_COLOURS)] for label in labels]
    if masks is not None and len(masks):
        image = draw_segmentation_masks(image, masks.cpu(), alpha=0.5, colors=colours)
    canvas = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    canvas = canvas.resize((canvas.width * scale, canvas.height * scale), Image.Resampling.NEAREST)
    pen, font = ImageDraw.Draw(canvas), caption_font(12)
    scores = objects["scores"].tolist() if "scores" in objects else [None] * len(labels)
    boxes = (objects["boxes"] * scale).tolist()
    notes = notes or [""] * len(labels)
    names = [f"{note} {classes[label]}".lstrip() for note, label in zip(notes, labels, strict=True)]
    # The highest score is drawn last, on top.
    for box, name, score, colour in reversed(list(zip(boxes, names, scores, colours, strict=True))):
        pen.rectangle(_inside(box, canvas.size), outline=colour, width=2)
        text = name if score is None else f"{name} {score:.2f}"
        _write(pen, (box[0], box[1]), text, colour, font, canvas.size)
    return np.asarray(canvas)


def _inside(box: Sequence[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    right, bottom = min(right - 1, size[0] - 1), min(bottom - 1, size[1] - 1)
    return min(left, right), min(top, bottom), right, bottom


def _write(
    pen: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, colour: Any, font: Any, size: tuple[int, int]
) -> None:
    _, _, width, height = pen.textbbox((0, 0), text, font=font)
    left = max(0.0, min(corner[0], size[0] - width - 4))
    top = max(0.0, min(corner[1], size[1] - height - 4))
    pen.rectangle((left, top, left + width + 4, top + height + 2), fill=colour)
    pen.text((left + 2, top), text, fill="black", font=font)


@torch.no_grad()
def objects_panel(
    model: ModelLike, batch: Mapping[str, Any], classes: Sequence[str], threshold: float = 0.5
) -> np.ndarray:
    """Draw a row for each image of a batch, uint8 RGB (rows, columns, 3): true objects, then predicted ones.

    Args:
        model: a detector with a data preprocessor.
        batch: a batch of the loader, see `maetool.data.datasets.detection.collate_objects`.
        classes: names of the labels.
        threshold: lowest score that is drawn, 0 to 1.
    """
    training = model.training
    model.eval()
    rows = [
        [draw_objects(image, each, classes) for each in pair] for image, *pair in found_objects(model, batch, threshold)
    ]
    model.train(training)
    return _grid(rows)


def found_objects(
    model: ModelLike, batch: Mapping[str, Any], threshold: float = 0.5
) -> Iterator[tuple[Tensor, Mapping[str, Tensor], dict[str, Tensor]]]:
    """Yield each image of a batch, uint8 (3, H, W) without padding, its true objects and its predicted ones.

    Args:
        model: a detector with a data preprocessor, in evaluation mode.
        batch: a batch of the loader.
        threshold: lowest score of a prediction, 0 to 1.
    """
    data = model.data_preprocessor(batch)
    samples = {name: value for name, value in data["data_samples"].items() if name != "original_size"}
    detections = model(data["images"], samples, mode="predict")
    images = displayable(batch["inputs"].float(), batch["inputs"]).permute(0, 3, 1, 2)
    for image, true, predicted, (rows, columns) in zip(
        images, batch["targets"], detections, batch["content"].tolist(), strict=True
    ):
        inside = {name: v[:, :rows, :columns] if name == "masks" else v for name, v in true.items()}
        found = {name: v.cpu() for name, v in predicted.items()}
        sure = found["scores"] >= threshold
        yield image[:, :rows, :columns], inside, {name: value[sure] for name, value in found.items()}


def _grid(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Arrange pictures of any sizes in rows and columns on white."""
    height, width = (max(picture.shape[axis] for row in rows for picture in row) + _GAP for axis in (0, 1))
    canvas = np.full((height * len(rows) + _GAP, width * len(rows[0]) + _GAP, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            top, left = y * height + _GAP, x * width + _GAP
            canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return canvas
