"""Labels: compared between datasets, and counted."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from maetool.data.sources.base import Labels as Labels  # also the names that users of labels look for here
from maetool.data.sources.base import labels_from_folders as labels_from_folders
from maetool.data.sources.folder import refuse_empty_classes as refuse_empty_classes
from maetool.data.sources.tables.unknown import REGRESSION
from maetool.errors import UsageError
from maetool.messages import plural

_NAMED = 12  # classes that are counted by name in the log


def aligned(labels: Labels, known: Sequence[str]) -> Tensor:
    """Return the values of `labels` with the classes in the order of `known`, which may have more of them.

    Raises:
        UsageError: a class that is not among `known`.
    """
    classes, values = labels
    if list(classes) == list(known):
        return values
    strange = [name for name in classes if name not in set(known)]
    if strange:
        raise UsageError(
            f"The data has the class `{strange[0]}` ({len(strange)} such), but the known classes are "
            f"{_list_of(known)}: use the classes that were trained on, with the same spelling."
        )
    place = {name: i for i, name in enumerate(known)}
    places = torch.tensor([place[name] for name in classes])
    if values.ndim == 1:
        return places[values]
    return values.new_zeros(len(values), len(known)).index_copy(1, places, values)


def labels_of(dataset: Any) -> Labels:
    """Return the labels of a dataset.

    Raises:
        UsageError: it has none, or numbers to predict in place of them.
    """
    if not getattr(dataset, "classes", None):
        root = getattr(getattr(dataset, "files", None), "root", type(dataset).__name__)
        if targets := getattr(dataset, "targets", None):
            raise UsageError(
                f"dataset.targets names {', '.join(targets)}, numbers to predict, but classes are needed: use an "
                f"ImageRegressor, as in maetool::{REGRESSION}, or leave dataset.targets out."
            )
        raise UsageError(
            f"The images of {root} have no labels: set dataset.with_labels=True for a folder of images for each class, "
            "or name a table with dataset.type=CsvDataset and dataset.csv_file."
        )
    return Labels(dataset.classes, dataset.labels)


def count_classes(labels: Labels) -> list[int]:
    """Return how many images each class of `labels` has."""
    classes, values = labels
    if values.ndim == 2:
        return (values > 0).sum(dim=0).tolist()
    return values.bincount(minlength=len(classes)).tolist()


def describe(dataset: Any) -> str:
    """Return a sentence on what is to be learnt from a dataset: its own, where it has one, or that on its labels.

    Raises:
        UsageError: see `labels_of` and `describe_balance`.
    """
    own = getattr(dataset, "describe", None)
    if own:
        return own()
    labels = labels_of(dataset)
    if (
        getattr(dataset, "limited", False) and labels.values.ndim == 1
    ):  # some classes are left out on purpose, by a number of images
        return describe_balance(present(labels)) + _left_out(labels)
    return describe_balance(labels)


def warning_of(dataset: Any, model: Any) -> str:
    """Return a sentence on what a model cannot give that a dataset holds, by the dataset's own `warning_of`, or ""."""
    own = getattr(dataset, "warning_of", None)
    return own(model) if own else ""


def describe_balance(labels: Labels) -> str:
    """Return a sentence on how many images each class of `labels` has; of many the largest and the smallest.

    Raises:
        UsageError: a class has none; where an image may have several, none has any.
    """
    total, counts = len(labels.values), count_classes(labels)
    pairs = sorted(zip(counts, labels.classes, strict=True), key=lambda pair: -pair[0])
    if not pairs:
        raise UsageError("There is no labelled image: use more images, or a larger limit.")
    several, missing = labels.values.ndim == 2, counts.count(0)
    if missing and not (several and missing < len(counts)):
        raise UsageError(
            f"{missing} of {len(counts)} classes have no image to train on (first `{pairs[-1][1]}`): add some, "
            "remove the class, or use more labels."
        )
    shown = pairs if len(pairs) <= _NAMED else [*pairs[:3], *pairs[-3:]]
    parts = [f"{name} {count:,} ({count / total:.1%})" for count, name in shown]
    if len(shown) < len(pairs):
        parts.insert(3, "...")
    images = plural(total, "labelled image")
    if several:
        images += f", {(labels.values > 0).sum().item() / total:.2f} labels an image{_unknown(labels.values)}"
    never = f" {missing} of them no image has, so they cannot be learned (first `{pairs[-1][1]}`)." if missing else ""
    number = f"{len(counts)} class" + "es" * (len(counts) != 1)
    return f"{number}, {images}: {', '.join(parts)}.{never}"


def _unknown(values: Tensor) -> str:
    share = values.isnan().float().mean().item()
    return f", {share:.1%} unknown and ignored" if share else ""


def present(labels: Labels) -> Labels:
    """Return the labels without the classes that no image has."""
    used = torch.tensor(count_classes(labels)) > 0
    classes = [name for name, is_used in zip(labels.classes, used.tolist(), strict=True) if is_used]
    several = labels.values.ndim == 2
    return Labels(classes, labels.values[:, used] if several else used.cumsum(0)[labels.values] - 1)


def _left_out(labels: Labels) -> str:
    number = count_classes(labels).count(0)
    return f" {number} of {len(labels.classes)} classes have no image among these, because of `limit`." * bool(number)


def _list_of(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"`{name}`" for name in names[:_NAMED]) + more
