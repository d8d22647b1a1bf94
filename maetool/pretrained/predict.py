"""Predictions of a trained model for image files: a picture of each, and a JSON record."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine import Config
from torch import Tensor

from maetool.annotations import fits
from maetool.config.facts import task_of
from maetool.data.codecs.image_size import MAX_PIXELS, chosen_limit
from maetool.data.sources.file_index import index_files
from maetool.data.transforms.build import build_transform
from maetool.data.transforms.sample import as_sample, moved_with, plain
from maetool.errors import UsageError
from maetool.evaluation.confusion import predict_classes
from maetool.protocols import ModelLike
from maetool.registry import MODELS, TRANSFORMS, find_part
from maetool.visualization.overlays import overlay, palette_of, picture_of, with_legend
from maetool.weights.read import read_checkpoint

from .facts import names_of_classes, names_of_targets
from .model import load_model, picture_shape_of
from .predict_objects import described_objects
from .reading import read_for, reading_for

_TOP = 5  # classes of an image that are reported


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for an image.

    Attributes:
        picture: uint8 (height, width, 3).
        record: JSON-serialisable result.
        maps: uint8 (H, W) by name, each for a file of its own.
    """

    picture: np.ndarray
    record: dict[str, Any]
    maps: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, Any]:
        """The old name of `record`."""
        warnings.warn(
            "Prediction.told is now Prediction.record; maetool 0.3.0 removes the old name.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.record


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


def load_trained(cfg: Config, checkpoint: str) -> Trained:
    """Return the model of a config with the weights of a checkpoint, which also names the classes or numbers.

    Images are read as those of the training were, unless the config's validation data says otherwise.

    Args:
        cfg: the config; it is completed in place.
        checkpoint: path or address of the file.

    Raises:
        UsageError: a checkpoint that does not fit, or a model without a known task, see `predictor_of`.
    """
    predictor_of(find_part(cfg.model.type, MODELS))
    model = load_model(cfg, checkpoint)
    _check_model(model)
    meta = read_checkpoint(checkpoint).get("meta", {})
    classes = _names(model, meta, checkpoint)
    validation = cfg.val_dataloader.dataset if cfg.get("val_dataloader") else {}
    transforms = [build_transform(dict(transform)) for transform in validation.get("pipeline", [])]
    limit = chosen_limit(validation.get("max_pixels"))
    colours = _palette(meta, len(classes))
    return Trained(model, classes, transforms, colours, max_pixels=limit, reading=reading_for(cfg, meta))


def _names(model: ModelLike, meta: Any, checkpoint: str) -> list[str]:
    """Return the names of a model's classes, or of the numbers that it predicts."""
    number = getattr(model, "num_targets", None)
    names, kind = (names_of_classes(meta), "class") if number is None else (names_of_targets(meta), "number")
    number = model.num_classes if number is None else number
    if names and len(names) < number:
        kinds = {"class": "classes", "number": "numbers"}[kind]
        raise UsageError(
            f"{checkpoint} names {len(names)} {kinds}, but the model has {number}: pass a checkpoint that training "
            "wrote."
        )
    return names or [f"{kind} {i}" for i in range(number)]


def _palette(meta: Any, classes: int) -> np.ndarray:
    """Return the colours (K, 3) of the classes, from the checkpoint if it has them."""
    facts = meta.get("dataset_meta") if isinstance(meta, Mapping) else None
    colors = facts.get("palette") if isinstance(facts, Mapping) else None
    if not colors:
        return palette_of(classes)
    fit = fits(colors, Sequence[tuple[int, int, int]]) and all(0 <= value < 256 for each in colors for value in each)
    if not fit or len(colors) < classes:
        raise UsageError(
            f"The checkpoint gives the colours {str(colors)[:80]} for its {classes} classes, but they must be a "
            "list with three numbers from 0 to 255 for each: pass a checkpoint that training wrote."
        )
    return np.array(colors, np.uint8)


@torch.no_grad()
def predict(trained: Trained, path: str | Path) -> Prediction:
    """Predict an image file.

    Args:
        trained: the model, see `load_trained`.
        path: of the image.

    Raises:
        UsageError: the file cannot be read, or it is a folder.
    """
    if Path(path).is_dir():
        raise UsageError(f"{path} is a folder: pass the image files in it, such as {Path(path) / '*.jpg'}.")
    return predictor_of(type(trained.model))(trained, Path(path))


def images_at(places: Sequence[str]) -> Iterator[str]:
    """Yield the paths of images: files as they are, and of folders all images inside.

    Args:
        places: files and folders.

    Raises:
        UsageError: a folder without images.
    """
    for place in places:
        if Path(place).is_dir():
            files = index_files(place)
            yield from map(files.path, range(len(files)))
        else:
            yield place


def table_of(records: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Return a table of the most likely class or of the numbers of each image, with a header; else an empty one.

    Args:
        records: `Prediction.record` of each image.
    """
    if records and "numbers" in records[0]:
        return [["path", *records[0]["numbers"]], *([each["image"], *each["numbers"].values()] for each in records)]
    if not all(each.get("classes") and "probability" in each["classes"][0] for each in records) or not records:
        return []
    rows = [[each["image"], each["classes"][0]["class"], each["classes"][0]["probability"]] for each in records]
    return [["path", "class", "probability"], *rows]


def _read(trained: Trained, path: Path) -> Tensor:
    return read_for(trained.model, path, trained.max_pixels, trained.reading)


def _outputs(trained: Trained, image: Tensor) -> Tensor:
    """Return the model's outputs (K,) for an image (C, H, W)."""
    model = trained.model
    resize = {"type": "ResizeCenterCrop", "size": picture_shape_of(model)[1:]}
    for transform in trained.transforms or [TRANSFORMS.build(resize)]:
        image = transform(image)
    return model(model.data_preprocessor({"inputs": image[None]})["images"], mode="predict")[0]


def _measure(trained: Trained, path: Path) -> Prediction:
    image = _read(trained, path)
    values = dict(zip(trained.classes, _outputs(trained, image).tolist(), strict=True))
    lines = [f"{name} {value:.4g}" for name, value in values.items()]
    colours = np.zeros((len(lines), 3), np.uint8)
    picture = with_legend(picture_of(image, image.shape[1:]), lines, colours)
    return Prediction(picture, {"image": str(path), "numbers": {name: float(f"{v:.6g}") for name, v in values.items()}})


def _classify(trained: Trained, path: Path) -> Prediction:
    image, model = _read(trained, path), trained.model
    logits = _outputs(trained, image)
    scores = logits.sigmoid() if getattr(model, "multi_label", False) else logits.softmax(dim=0)
    best = scores.topk(min(_TOP, len(scores)))
    rows = [
        {"class": trained.classes[number], "probability": round(score, 4)}
        for score, number in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]
    lines = [f"{row['class']} {row['probability']:.1%}" for row in rows]
    picture = with_legend(picture_of(image, image.shape[1:]), lines, trained.palette[best.indices.cpu().numpy()])
    return Prediction(picture, {"image": str(path), "classes": rows})


def _segment(trained: Trained, path: Path) -> Prediction:
    image = _read(trained, path)
    size = tuple(image.shape[1:])
    sample = as_sample({"inputs": image, "semantic": torch.zeros(size, dtype=torch.int64)})
    for transform in trained.transforms:
        sample = moved_with(transform, sample)
    semantic = predict_classes(trained.model, {"inputs": plain(sample["inputs"])[None]}, size)[0].numpy()
    counts = np.bincount(semantic.ravel(), minlength=len(trained.classes))
    present = np.flatnonzero(counts)[np.argsort(-counts[counts > 0], kind="stable")]  # largest first
    rows = [
        {"class": trained.classes[number], "number": int(number), "share": round(counts[number] / semantic.size, 4)}
        for number in present
    ]
    lines = [f"{row['class']} {row['share']:.1%}" for row in rows]
    drawn = overlay(picture_of(image, size), semantic, trained.palette)
    record = {"image": str(path), "height": size[0], "width": size[1], "classes": rows}
    return Prediction(
        with_legend(drawn, lines, trained.palette[present]), record, {"classes": semantic.astype(np.uint8)}
    )


def _find(trained: Trained, path: Path) -> Prediction:
    image = _read(trained, path)
    return Prediction(*described_objects(trained.model, image, path, trained.classes, trained.threshold))


Predictor = Callable[[Trained, Path], Prediction]
# Predictors by the `task` of a model.
PREDICTORS: dict[str, Predictor] = {
    "classification": _classify,
    "regression": _measure,
    "segmentation": _segment,
    "detection": _find,
}


def predictor_of(model: type) -> Predictor:
    """Return the predictor for the models of a class, by its `task`.

    Args:
        model: the class.

    Raises:
        UsageError: the class has no `task`, or one without a predictor.
    """
    name, task = model.__name__, task_of(model)
    if task in PREDICTORS:
        return PREDICTORS[task]
    known = ", ".join(PREDICTORS)
    if task is None:
        raise UsageError(f"{name} has no `task`: add `task = ...` to the class, one of {known}.")
    raise UsageError(
        f"{name} makes no predictions, because its task is {task}: use a config of a model for one of "
        f"{known}; `maetool visualize_reconstruction` draws reconstructions of a pretrained model."
    )


def _check_model(model: ModelLike) -> None:
    picture_shape_of(model)
    number = "num_targets" if task_of(model) == "regression" else "num_classes"
    if missing := [name for name in (number, "data_preprocessor") if getattr(model, name, None) is None]:
        raise UsageError(
            f"{type(model).__name__} has no {' and no '.join(missing)}, which predictions need: add them to the model."
        )
