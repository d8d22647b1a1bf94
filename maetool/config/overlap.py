"""Whether a validation looks at images of the training."""

from collections.abc import Mapping
from typing import Any

_PLACES = ("csv_file", "root", "source")  # by name: looking up the class could import what a checkpoint names
# How the images are read, not which.
_HOW = frozenset(
    {"type", "pipeline", "limit", "with_labels", "labelled", "labels_fraction", "labels_per_class", "max_broken"}
)
_PARTS = frozenset({"part", "split", "fold", "names", "limit"})  # a dataset without them has all images


def validates_on_training(cfg: Mapping[str, Any]) -> bool:
    """Return whether the validation images of a config are among those of training.

    Args:
        cfg: a config, also one of a checkpoint that is not trusted; drawn data is never the same.
    """
    train, val = (_dataset(cfg.get(name)) for name in ("train_dataloader", "val_dataloader"))
    place = _place(train)
    return place is not None and place == _place(val) and all(_agree(train, val, key) for key in {*train, *val} - _HOW)


def tell_of_overlap(cfg: Mapping[str, Any]) -> str | None:
    """Return a sentence that says so if the validation images of a config are among those of training, or None.

    Args:
        cfg: the config.
    """
    if not validates_on_training(cfg):
        return None
    return (
        "Validation uses images that the model is trained on, because the data has no part for it: its numbers do not "
        "show how the model does on new images; a folder `val` beside `train` holds some out."
    )


def _dataset(loader: Any) -> Mapping[str, Any]:
    dataset = loader.get("dataset") if isinstance(loader, Mapping) else None
    return dataset if isinstance(dataset, Mapping) else {}


def _place(dataset: Mapping[str, Any]) -> Any:
    return next((dataset[name] for name in _PLACES if dataset.get(name)), None)


def _agree(train: Mapping[str, Any], val: Mapping[str, Any], key: str) -> bool:
    return train.get(key) == val.get(key) or (key in _PARTS and train.get(key) is None)
