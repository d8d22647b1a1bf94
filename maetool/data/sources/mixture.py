"""Several sources as one, each with its share."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from maetool.errors import UsageError
from maetool.reading import MOST_BYTES
from maetool.registry import SOURCES

from .base import Labels, Source


@SOURCES.register_module()
class MixtureSource(Source):
    """The images of several sources, each with a share of the samples of an epoch.

    A source that is smaller than its share is repeated, one that is larger is thinned out evenly; the same images are
    used in every epoch, so that order and resuming stay exact.

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

    def labels(self) -> Labels:
        """Return the labels by the names of the classes, which are those of all sources.

        Raises:
            UsageError: a source knows none, or has several labels for an image.
        """
        known = [source.labels() for source in self.sources]
        if any(values.ndim > 1 for _, values in known):
            raise UsageError("A mixture has one label for each image: give sources of one label each.")
        classes = sorted({name for names, _ in known for name in names})
        number_of = {name: number for number, name in enumerate(classes)}
        own = [torch.tensor([number_of[name] for name in names])[values] for names, values in known]
        return Labels(classes, torch.stack([own[number][place] for number, place, _ in self._places.tolist()]))


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
