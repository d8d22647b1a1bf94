"""What models of each task predict for images: prepared, computed in batches, recorded and drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maetool.data.codecs.image_size import MAX_PIXELS
from maetool.data.transforms.build import build_transform
from maetool.data.transforms.sample import as_sample, moved_with, plain
from maetool.evaluation.confusion import predict_classes
from maetool.protocols import ModelLike
from maetool.visualization.overlays import overlay, picture_of, with_bars, with_legend

from .model import picture_shape_of
from .predict_objects import draw_found, fitted, objects_in, record_of, sure

_TOP = 5  # classes of an image that are reported
Prepared = Mapping[str, Any]


@dataclass(frozen=True)
class Trained:
    """A model with its classes and transforms.

    Attributes:
        model: the model in evaluation mode.
        classes: names of its classes, or of the numbers that it predicts.
        transforms: the transforms of its validation data.
        palette: colours of the classes, uint8 (K, 3).
        threshold: lowest score of an object that is reported, 0 to 1.
        max_pixels: largest number of pixels of an image, see `maetool.data.codecs.images.decode_image`.
        reading: how files are read, `exif`, `eight_bit` and `nodata` of `maetool.data.ImageFolderDataset`.
    """

    model: ModelLike
    classes: Sequence[str]
    transforms: Sequence[Callable[[Any], Any]]
    palette: np.ndarray
    threshold: float = 0.5
    max_pixels: int = MAX_PIXELS
    reading: Mapping[str, Any] = field(default_factory=dict)


class Predictor:
    """The predictions of a task; one for each image of a batch."""

    def prepare(self, trained: Trained, image: Tensor) -> Prepared:
        """Return the model's inputs for an image: `inputs` (C, h, w), and what else the task needs.

        Args:
            trained: the model and its transforms; of the model only the shape of its images is used.
            image: (C, H, W), as stored.
        """
        pipeline = trained.transforms or [
            build_transform({"type": "ResizeCenterCrop", "size": picture_shape_of(trained.model)[1:]})
        ]
        for transform in pipeline:
            image = transform(image)
        return {"inputs": image}

    def run(self, trained: Trained, batch: Sequence[Prepared]) -> list[Any]:
        """Return an output on the CPU for each of some images.

        Args:
            trained: the model.
            batch: the images as `prepare` returns them, their inputs of one shape.
        """
        inputs = torch.stack([each["inputs"] for each in batch])
        images = trained.model.data_preprocessor({"inputs": inputs})["images"]
        return list(trained.model(images, mode="predict").float().cpu())

    def record(self, trained: Trained, output: Any) -> dict[str, Any]:
        """Return an output as JSON holds it.

        Args:
            trained: the model with the names of its classes.
            output: one of those that `run` returns.
        """
        raise NotImplementedError

    def draw(self, trained: Trained, image: Tensor, output: Any) -> np.ndarray:
        """Return a picture of an output, uint8 (height, width, 3).

        Args:
            trained: the model with the names and colours of its classes.
            image: (C, H, W), as stored.
            output: of it, one of those that `run` returns.
        """
        raise NotImplementedError

    def maps(self, output: Any) -> dict[str, np.ndarray]:
        """Return maps, uint8 (H, W), by name, each for a file of its own.

        Args:
            output: one of those that `run` returns.
        """
        return {}


class PredictNumbers(Predictor):
    """Regressors: the numbers, by name."""

    def record(self, trained: Trained, output: Tensor) -> dict[str, Any]:
        """Return the numbers, to 6 digits."""
        values = zip(trained.classes, output.tolist(), strict=True)
        return {"numbers": {name: float(f"{value:.6g}") for name, value in values}}

    def draw(self, trained: Trained, image: Tensor, output: Tensor) -> np.ndarray:
        """Return the image above a line for each number."""
        lines = [f"{name} {value:.4g}" for name, value in zip(trained.classes, output.tolist(), strict=True)]
        return with_bars(picture_of(image, image.shape[1:]), lines)


class PredictClasses(Predictor):
    """Classifiers: the most likely classes, or of several labels each with a probability of its own."""

    def record(self, trained: Trained, output: Tensor) -> dict[str, Any]:
        """Return the most likely classes, or of several labels all, with their probabilities to 4 digits."""
        if getattr(trained.model, "multi_label", False):
            each = zip(trained.classes, output.sigmoid().tolist(), strict=True)
            return {"probabilities": {name: round(score, 4) for name, score in each}}
        return {"classes": [{"class": name, "probability": score} for name, score in _ranked(trained, output)]}

    def draw(self, trained: Trained, image: Tensor, output: Tensor) -> np.ndarray:
        """Return the image above a bar for each of the most likely classes."""
        rows = _ranked(trained, output)
        lines = [f"{name} {score:.1%}" for name, score in rows]
        return with_bars(picture_of(image, image.shape[1:]), lines, [score for _, score in rows])


def _ranked(trained: Trained, output: Tensor) -> list[tuple[str, float]]:
    """Return the names and probabilities of the most likely classes, the highest first."""
    scores = output.sigmoid() if getattr(trained.model, "multi_label", False) else output.softmax(dim=0)
    best = scores.topk(min(_TOP, len(scores)))
    rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [(trained.classes[number], round(score, 4)) for number, score in rows]


class PredictPixels(Predictor):
    """Segmentors: the class of each pixel."""

    def prepare(self, trained: Trained, image: Tensor) -> Prepared:
        """Return the inputs, and the `size` (H, W) of the image, at whose pixels classes are predicted."""
        size = tuple(image.shape[1:])
        sample = as_sample({"inputs": image, "semantic": torch.zeros(size, dtype=torch.int64)})
        for transform in trained.transforms:
            sample = moved_with(transform, sample)
        return {"inputs": plain(sample["inputs"]), "size": size}

    def run(self, trained: Trained, batch: Sequence[Prepared]) -> list[Any]:
        """Return classes, uint8 (H, W), one image at a time: those of several need much memory."""
        inputs = ((each["inputs"][None], each["size"]) for each in batch)
        classes = [predict_classes(trained.model, {"inputs": image}, size) for image, size in inputs]
        return [each[0].numpy().astype(np.uint8) for each in classes]

    def record(self, trained: Trained, output: np.ndarray) -> dict[str, Any]:
        """Return the size and the classes that are there, those of most pixels first, with their shares."""
        counts = np.bincount(output.ravel(), minlength=len(trained.classes))
        rows = [
            {"class": trained.classes[number], "number": int(number), "share": round(counts[number] / output.size, 4)}
            for number in _present(counts)
        ]
        return {"height": output.shape[0], "width": output.shape[1], "classes": rows}

    def draw(self, trained: Trained, image: Tensor, output: np.ndarray) -> np.ndarray:
        """Return the image under the colours of the classes."""
        rows = self.record(trained, output)["classes"]
        drawn = overlay(picture_of(image, output.shape), output.astype(np.int64), trained.palette)
        colours = trained.palette[[row["number"] for row in rows]]
        return with_legend(drawn, [f"{row['class']} {row['share']:.1%}" for row in rows], colours)

    def maps(self, output: np.ndarray) -> dict[str, np.ndarray]:
        """Return the class numbers."""
        return {"classes": output}


def _present(counts: np.ndarray) -> np.ndarray:
    return np.flatnonzero(counts)[np.argsort(-counts[counts > 0], kind="stable")]  # largest first


class PredictObjects(Predictor):
    """Detectors: boxes, masks and scores."""

    def prepare(self, trained: Trained, image: Tensor) -> Prepared:
        """Return the inputs, resized to fit into the model's image size."""
        return fitted(image, picture_shape_of(trained.model)[1:])

    def run(self, trained: Trained, batch: Sequence[Prepared]) -> list[Any]:
        """Return the objects of each image, see `maetool.pretrained.predict_objects.find_objects`."""
        return objects_in(trained.model, batch)

    def record(self, trained: Trained, output: Any) -> dict[str, Any]:
        """Return size and objects, see `maetool.pretrained.predict_objects.predict_objects`."""
        return record_of(sure(trained.model, output, trained.classes, trained.threshold), trained.classes)

    def draw(self, trained: Trained, image: Tensor, output: Any) -> np.ndarray:
        """Return the image with boxes, names, scores and masks."""
        return draw_found(image, sure(trained.model, output, trained.classes, trained.threshold), trained.classes)


# By the `task` of a model.
PREDICTORS: dict[str, Predictor] = {
    "classification": PredictClasses(),
    "regression": PredictNumbers(),
    "segmentation": PredictPixels(),
    "detection": PredictObjects(),
}
