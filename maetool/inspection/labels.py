"""How many images each class has, in each part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from maetool.data.datasets.labels import count_classes
from maetool.data.sources.base import Labels, Measurements
from maetool.messages import plural

from .findings import Finding, some
from .parts import Part

_RARE = 5  # images of a class that are few
_UNEVEN = 10  # times as many images of the largest class as of the smallest


@dataclass
class Classes:
    """The classes of a data set.

    Attributes:
        names: of all classes.
        counts: part to the number of images of each class.
        several: whether an image may have several classes.
        unknown: part to the share of labels that are not known.
    """

    names: list[str] = field(default_factory=list)
    counts: dict[str, list[int]] = field(default_factory=dict)
    several: bool = False
    unknown: dict[str, float] = field(default_factory=dict)

    @property
    def training(self) -> list[int]:
        """The counts of the training part, or of all images."""
        return next(iter(self.counts.values()))


@dataclass
class Numbers:
    """Numbers to predict.

    Attributes:
        names: their columns.
        lowest, median, highest: of each, in the first part.
        unknown: how many are not known, of each.
    """

    names: list[str]
    lowest: list[float]
    median: list[float]
    highest: list[float]
    unknown: list[int]


def count_labels(parts: Sequence[Part]) -> Classes | None:
    """Return how many images of each of `parts` each class has; None without classes."""
    labels = {part.name: each for part in parts if isinstance(each := part.labels, Labels)}
    if not labels:
        return None
    names = list(dict.fromkeys(name for each in labels.values() for name in each.classes))
    found = Classes(names)
    for part, each in labels.items():
        counts = dict(zip(each.classes, count_classes(each), strict=True))
        found.counts[part] = [counts.get(name, 0) for name in names]
        found.several |= each.values.ndim == 2
        if each.values.ndim == 2:
            found.unknown[part] = float(each.values.isnan().float().mean())
    return found


def summarise_numbers(parts: Sequence[Part]) -> Numbers | None:
    """Return what the numbers to predict in `parts` are like; None without any."""
    for part in parts:
        labels = part.labels
        if isinstance(labels, Measurements):
            known = [column[~column.isnan()] for column in labels.values.T]
            lowest, median, highest = ([float(each.quantile(q)) for each in known] for q in (0.0, 0.5, 1.0))
            unknown = [int(column.isnan().sum()) for column in labels.values.T]
            return Numbers(labels.names, lowest, median, highest, unknown)
    return None


def findings_of_classes(classes: Classes) -> list[Finding]:
    """Return what is worth saying about the classes."""
    found = []
    training = dict(zip(classes.names, classes.training, strict=True))
    empty = [name for name, count in training.items() if not count]
    if empty:
        where = " to train on" if len(classes.counts) > 1 else ""
        sentence = f"{plural(len(empty), 'class')} without an image{where}: {some(empty)}. Add images, or leave it out."
        found.append(Finding("error", "labels", sentence))
    for part, counts in list(classes.counts.items())[1:]:
        absent = [name for name, count in zip(classes.names, counts, strict=True) if not count and training[name]]
        if absent:
            occur = "occurs" if len(absent) == 1 else "occur"
            sentence = f"{plural(len(absent), 'class')} of the training part never {occur} in {part}: {some(absent)}."
            found.append(Finding("warning", "labels", sentence))
    rare = [name for name, count in training.items() if 0 < count < _RARE]
    if rare:
        sentence = f"{plural(len(rare), 'class')} with fewer than {_RARE} images to train on: {some(rare)}."
        found.append(Finding("warning", "labels", sentence))
    return found + _of_balance(training)


def _of_balance(training: Mapping[str, int]) -> list[Finding]:
    counts = [count for count in training.values() if count]
    if len(counts) < 2 or max(counts) < _UNEVEN * min(counts):
        return []
    largest, smallest = (pick(training, key=lambda name: training[name] or max(counts)) for pick in (max, min))
    return [
        Finding(
            "warning",
            "labels",
            f"`{largest}` has {training[largest] / training[smallest]:.0f} times as many images as `{smallest}`: "
            'judge by balanced accuracy or macro F1, and try model.class_weight="balanced" or the sampler '
            "BalancedSampler.",
        )
    ]
