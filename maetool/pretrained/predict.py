"""Predictions of a trained model for image files: a picture of each, and a JSON record."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine import Config

from maetool.annotations import fits
from maetool.config.facts import task_of
from maetool.data.codecs.image_size import chosen_limit
from maetool.data.sources.file_index import index_files
from maetool.data.transforms.build import build_transform
from maetool.errors import UsageError
from maetool.protocols import ModelLike
from maetool.registry import MODELS, find_part
from maetool.visualization.overlays import palette_of
from maetool.weights.read import read_checkpoint

from .facts import names_of_classes, names_of_targets
from .model import load_model, picture_shape_of
from .predictors import PREDICTORS, Predictor, Trained
from .reading import read_for, reading_for

_VALUES = (
    "numbers",
    "probabilities",
)  # by name, of a regressor and of a classifier of several labels
_SHOWN = 8  # of these values in a line


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
    predictor = predictor_of(type(trained.model))
    image = read_for(trained.model, path, trained.max_pixels, trained.reading)
    with torch.no_grad():
        (output,) = predictor.run(trained, [predictor.prepare(trained, image)])
    record = {"image": str(path), **predictor.record(trained, output)}
    return Prediction(predictor.draw(trained, image, output), record, predictor.maps(output))


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
    """Return a table of each image's most likely class, or of all its numbers or labels, with a header; else nothing.

    Args:
        records: `Prediction.record` of each image.
    """
    for name in _VALUES:
        if records and name in records[0]:
            return [["path", *records[0][name]], *([each["image"], *each[name].values()] for each in records)]
    if not all(each.get("classes") and "probability" in each["classes"][0] for each in records) or not records:
        return []
    rows = [[each["image"], each["classes"][0]["class"], each["classes"][0]["probability"]] for each in records]
    return [["path", "class", "probability"], *rows]


def line_of(record: Mapping[str, Any]) -> str:
    """Return what the table of `table_of` says of an image, as a line of the terminal; empty without one.

    Args:
        record: `Prediction.record`.
    """
    values = next((record[name] for name in _VALUES if name in record), None)
    if values is None:
        return "  ".join(str(cell) for row in table_of([record])[1:] for cell in row)
    cells = [f"{name} {value}" for name, value in list(values.items())[:_SHOWN]]
    more = [f"and {len(values) - _SHOWN} more"] if len(values) > _SHOWN else []
    return "  ".join([record["image"], *cells, *more])


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
