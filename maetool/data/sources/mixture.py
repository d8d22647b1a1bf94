"""Several sources as one, each with its share."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.reading import MOST_BYTES
from maetool.registry import SOURCES

from .base import Labels, Measurements, Source


@SOURCES.register_module()
class MixtureSource(Source):
    """The images of several sources, each with a share of the samples of an epoch.

    A source that is smaller than its share is repeated, one that is larger is thinned out evenly; the same images are
    used in every epoch, so that order and resuming stay exact. Repetitions of an image are one group, so that they are
    never in two parts.

    Args:
        sources: configs of sources by a name for each, which begins the names of its images.
        weights: the shares by the same names, in any unit; None, as many as there are of each.
        length: samples of an epoch; None, as many as all sources have images.

    Raises:
        UsageError: no sources, other names, or weights that are not positive.
    """

    part_registries: ClassVar = {"sources": SOURCES}

    def __init__(
        self,
        sources: Mapping[str, Mapping[str, Any] | Source],
        weights: Mapping[str, float] | None = None,
        length: int | None = None,
    ) -> None:
        self.names = list(sources)
        self.sources = [SOURCES.build(source) for source in sources.values()]
        weights = weights or {name: float(len(each)) for name, each in zip(self.names, self.sources, strict=True)}
        if not self.names or set(weights) != set(self.names) or not all(weight > 0 for weight in weights.values()):
            raise UsageError(
                f"The weights are {dict(weights)}, but the sources are {', '.join(self.names) or 'none'}: give each "
                "source a weight above 0."
            )
        if length is not None and length < len(self.names):
            raise UsageError(f"length is {length}: give at least one sample for each of {len(self.names)} sources.")
        counts = _counts([weights[name] for name in self.names], length or sum(map(len, self.sources)))
        self.root = f"mixture of {', '.join(self.names)}"
        self._places = np.array(
            [
                (number, place, again)
                for number, (source, count) in enumerate(zip(self.sources, counts, strict=True))
                for place, again in _chosen(len(source), count)
            ],
            np.int64,
        )

    def __len__(self) -> int:
        return len(self._places)

    def relative(self, index: int) -> str:
        """Return the name of the source of image `index`, its name there, and which repetition it is."""
        number, place, again = self._places[index].tolist()
        suffix = f"#{again + 1}" if again else ""
        return f"{self.names[number]}/{self.sources[number].relative(place)}{suffix}"

    def path(self, index: int) -> str:
        """Return what the source of image `index` calls it."""
        number, place, _ = self._places[index].tolist()
        return self.sources[number].path(place)

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return the path of image `index` and its content.

        Raises:
            UnreadableImage: see its source.
        """
        number, place, _ = self._places[index].tolist()
        return self.sources[number].read(place, most)

    def labels(self) -> Labels | Measurements:
        """Return the labels by the names of classes, which are those of all sources, or numbers to predict.

        Where images may have several labels, a class that a source does not know is unknown for its images, NaN.

        Raises:
            UsageError: a source knows none, or they are not of one kind.
        """
        known = [source.labels() for source in self.sources]
        kinds = {(type(each), each.values.ndim) for each in known}
        if len(kinds) > 1:
            raise UsageError(
                f"The sources {', '.join(self.names)} have labels of several kinds: give sources that all have one "
                "label for each image, several labels, or numbers."
            )
        return _numbers(known, self._places) if isinstance(known[0], Measurements) else _classes(known, self._places)

    def groups(self) -> Tensor | None:
        """Return groups that keep those of the sources, and all repetitions of an image, together; int64 (N,).

        An image of a source without groups is a group of its own. None where no source knows groups and no image is
        repeated.
        """
        known = [source.groups() for source in self.sources]
        if all(groups is None for groups in known) and not self._places[:, 2].any():
            return None
        own = [torch.arange(len(s)) if g is None else g for s, g in zip(self.sources, known, strict=True)]
        first = np.cumsum([0, *(int(groups.max()) + 1 for groups in own)])
        return _picked([groups + int(start) for groups, start in zip(own, first, strict=False)], self._places)

    def held_out(self) -> Tensor | None:
        """Return which images the sources hold out, bool (N,); those of a source that does not say it are not."""
        known = [source.held_out() for source in self.sources]
        if all(held_out is None for held_out in known):
            return None
        own = [
            torch.zeros(len(s), dtype=torch.bool) if h is None else h for s, h in zip(self.sources, known, strict=True)
        ]
        return _picked(own, self._places)


def _picked(values: Sequence[Tensor], places: np.ndarray) -> Tensor:
    """Return the values of the samples from those of all images of each source.

    Args:
        values: (N_s, ...) for each source.
        places: int64 (N, 3), the source of each sample, its place there, and which repetition it is.
    """
    first = np.cumsum([0, *map(len, values)])
    return torch.cat(list(values))[torch.from_numpy(first[places[:, 0]] + places[:, 1])]


def _numbers(known: Sequence[Measurements], places: np.ndarray) -> Measurements:
    names = known[0].names
    if any(each.names != names for each in known):
        raise UsageError(
            f"The sources predict {' and '.join(str(each.names) for each in known)}: name the same numbers."
        )
    return Measurements(names, _picked([each.values for each in known], places))


def _classes(known: Sequence[Labels], places: np.ndarray) -> Labels:
    classes = sorted({name for names, _ in known for name in names})
    columns = [torch.tensor([classes.index(name) for name in names]) for names, _ in known]
    if known[0].values.ndim == 1:
        return Labels(classes, _picked([c[values] for c, (_, values) in zip(columns, known, strict=True)], places))
    several = []
    for column, (_, values) in zip(columns, known, strict=True):
        several.append(torch.full((len(values), len(classes)), float("nan")))
        several[-1][:, column] = values
    return Labels(classes, _picked(several, places))


def _counts(weights: Sequence[float], length: int) -> list[int]:
    """Return whole numbers that sum to `length`, at least 1 each, in proportion to the weights."""
    ends = np.cumsum(np.array(weights) / sum(weights)) * length
    counts = np.diff(np.rint(ends).astype(int), prepend=0)
    while counts.min() < 1:
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    return counts.tolist()


def _chosen(length: int, count: int) -> list[tuple[int, int]]:
    """Return the index of each of `count` samples of a source of `length` images, and which repetition it is."""
    if count <= length:
        return [(place * length // count, 0) for place in range(count)]
    return [(place % length, place // length) for place in range(count)]
