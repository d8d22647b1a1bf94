"""What every drawn dataset shares: samples are functions of (seed, index), in balanced classes, and may be kept."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from maetool.annotations import Count, Size
from maetool.data.datasets.base import DEBUG_SAMPLES, ImageDataset
from maetool.data.datasets.subsets import Subset
from maetool.errors import UsageError
from maetool.ops.geometry import to_size

MIN_SIDE = 16  # below, the finest texture has less than three pixels a period


class DrawnDataset(ImageDataset):
    """Base of the drawn datasets; a subclass names the classes in `label_names` and writes `draw`.

    Args:
        num_samples: number of samples N.
        img_size: side, or (height, width), in pixels; at least 16.
        seed: another seed is another set of samples, for example for validation; also seeds the augmentation.
        pipeline: transforms, see `ImageDataset`.
        cache: keep what was drawn in memory, each worker its own; what `load` returns is the same either way.
        labels_fraction, labels_per_class, part: which of the samples are used, see `Subset`, drawn with `seed`.

    Raises:
        UsageError: an argument of another type or out of range.
    """

    label_names: ClassVar[tuple[str, ...]] = ()
    debug_arguments: ClassVar = {"num_samples": DEBUG_SAMPLES, "labels_fraction": ..., "labels_per_class": ...}

    def __init__(
        self,
        num_samples: Count,
        img_size: Size,
        seed: int = 0,
        pipeline: Sequence[Any] = (),
        cache: bool = True,
        labels_fraction: float | None = None,
        labels_per_class: int | None = None,
        part: str = "all",
    ) -> None:
        super().__init__(pipeline, seed)
        check_whole(num_samples=(num_samples, 1), seed=(seed, 0))
        self.img_size = to_size(img_size, "img_size")
        if min(self.img_size) < MIN_SIDE:
            raise UsageError(
                f"img_size is {img_size!r}, but the textures need at least {MIN_SIDE} pixels a side: use 32 or more."
            )
        self.classes = list(self.label_names)
        labels = _label(torch.arange(num_samples), seed, len(self.classes))
        subset = Subset(part, None, labels_fraction, labels_per_class, seed)
        self.numbers = subset.choose(num_samples, labels)
        self.labels = self._drawn_labels = labels[self.numbers]
        self._cache: dict[int, Tensor] | None = {} if cache else None

    def draw(self, index: int) -> Tensor:
        """Return the `inputs` of a sample, a function of `label_of(index)` and `rng(index)`."""
        raise NotImplementedError(f"{type(self).__name__} must say what a sample looks like: write `draw`.")

    def __len__(self) -> int:
        return len(self.numbers)

    def load(self, index: int) -> dict[str, Any]:
        """Return `inputs`, what `draw` gives, and `label`, the class.

        Raises:
            IndexError: no sample has this index.
        """
        label = self.label_of(index)
        if self._cache is None:
            return {"inputs": self.draw(index), "label": label}
        if index not in self._cache:
            self._cache[index] = self.draw(index)
        # A copy, because a transform may work in place.
        return {"inputs": self._cache[index].clone(), "label": label}

    def label_of(self, index: int) -> int:
        """Return the class of a sample without drawing it; K indices from a multiple of K on hold all K classes.

        Raises:
            IndexError: no sample has this index.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"Sample {index} does not exist: the dataset has {len(self)}.")
        return int(self._drawn_labels[index])

    def name_of(self, index: int) -> str:
        """Return the number of the sample among all that are drawn from `seed`."""
        return str(int(self.numbers[index]))

    def rng(self, index: int) -> np.random.Generator:
        """Return the generator of sample `index` at its start."""
        return np.random.default_rng((self.seed, int(self.numbers[index])))


def check_whole(**values: tuple[Any, int]) -> None:
    """Check that arguments are integers of at least what stands beside them.

    Raises:
        UsageError: one is not.
    """
    for name, (value, least) in values.items():
        if type(value) is not int or value < least:
            raise UsageError(f"{name} is {value!r}, but must be an integer of at least {least}.")


def _label(index: Any, seed: int, classes: int) -> Any:
    # The order shifts from one round of the classes to the next, so that every second or eighth sample is balanced too.
    return (index + index // classes + seed) % classes
