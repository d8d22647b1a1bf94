"""Replaces a dataset of a config by one of the user's files."""

from collections.abc import Mapping
from typing import Any

from maetool.annotations import parameters_of
from maetool.errors import UsageError
from maetool.ops.geometry import format_size
from maetool.registry import DATASETS, TRANSFORMS, check_arguments, find_part

from .complete import size_of_inputs
from .facts import takes

FILES = ("ImageFolderDataset", "ShardDataset", "CsvDataset", "SourceDataset", "CocoDataset")
_WHERE = ("type", "root", "csv_file", "source", "with_labels", "annotations")
_KEPT = ("labels_fraction", "labels_per_class")  # by a config whose data was drawn


def replaced(dataset: Mapping[str, Any], place: Mapping[str, Any], use: str) -> dict[str, Any]:
    """Return the config of a dataset of the user's files in place of another one.

    Args:
        dataset: the config's dataset.
        place: arguments that locate the files.
        use: "train" or "val".

    Raises:
        UsageError: an argument that the config's dataset does not take, or one that the new one would lose.
    """
    check_known(dataset)
    kept: dict[str, Any] = {"pipeline": _pipeline(dataset, use)}
    if place.get("type") == "CocoDataset":  # its transforms are specific to objects
        kept = {"pipeline": dataset["pipeline"]}
    if dataset["type"] in FILES:
        kept = {name: value for name, value in dataset.items() if name not in _WHERE}
        _refuse_lost(kept, place)
    elif "root" in dataset and "root" in place:  # a third party's dataset with a folder
        kept = {name: value for name, value in dataset.items() if name != "root"}
        place = {"root": place["root"], "type": dataset["type"], **_taken(dataset, place)}
    else:
        kept |= {name: dataset[name] for name in _KEPT if name in dataset}
    return {**_taken(place, kept), **place}


def _pipeline(dataset: Mapping[str, Any], use: str) -> list[Any]:
    """Return the transforms of the user's images in place of drawn ones.

    They are crops and flips, and what makes the views, streams or ids that the model reads, which may crop by itself.
    """
    special = [each for each in dataset.get("pipeline") or () if _gives(each)]
    if any(takes(each, TRANSFORMS, "size") for each in special):
        return special
    makes = {find_part(each["type"], TRANSFORMS).gives for each in special}
    # Which the encoder says, but for ids or several streams; views are as large as what it reads.
    size = {"size": dataset["img_size"]} if makes - {"views"} and "img_size" in dataset else {}
    if use == "train":
        return [{"type": "RandomResizedCrop", **size}, {"type": "RandomHorizontalFlip"}, *special]
    return [{"type": "ResizeCenterCrop", **size}, *special]


def _gives(transform: Any) -> bool:
    """Whether a transform makes something else than an image of an image."""
    return isinstance(transform, Mapping) and hasattr(find_part(transform["type"], TRANSFORMS), "gives")


def same_samples(dataset: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two datasets of a config hold the same samples, whatever is done to them.

    Args:
        dataset, other: their sections of the config.
    """
    first, second = (
        {name: value for name, value in each.items() if name not in ("pipeline", "img_size")}
        for each in (dataset, other)
    )
    return first == second


def check_known(dataset: Mapping[str, Any]) -> None:
    """Refuse an argument that a dataset of the config does not take, because a replaced dataset is never built."""
    cls = find_part(dataset["type"], DATASETS)
    taken = parameters_of(cls)
    if taken is not None:
        check_arguments(cls.__name__, [name for name in dataset if name not in ("type", "_scope_")], taken)


def check_reads_pictures(encoder: Any) -> None:
    """Check that an encoder, given by its config, reads pictures, as the user's files hold them.

    Raises:
        UsageError: it reads clips, volumes or series.
    """
    size = size_of_inputs(encoder)
    if size is not None and len(size) != 2:
        kind = "series" if len(size) == 1 else "clips or volumes"
        raise UsageError(
            f"--data reads pictures, but the encoder takes {kind} of {format_size(size)}: set the datasets of "
            "train_dataloader and val_dataloader to one that gives them."
        )


def _refuse_lost(kept: Mapping[str, Any], place: Mapping[str, Any]) -> None:
    lost = [name for name in kept if not takes(place, DATASETS, name)]
    if lost:
        raise UsageError(
            f"The config sets {lost[0]}={kept[lost[0]]!r} for its dataset, but --data gives a {place['type']} that has "
            f"no {lost[0]}: remove it from the config, or set the datasets there instead of --data."
        )


def _taken(part: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: v for name, v in arguments.items() if name == "type" or takes(part, DATASETS, name)}
