"""The order of samples in which rare classes come as often as others."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from maetool.data.keys import SampleKey
from maetool.errors import UsageError
from maetool.ops.random import mix, sample_keys
from maetool.registry import DATA_SAMPLERS

from .samplers import KeyedSampler


@DATA_SAMPLERS.register_module()
class BalancedSampler(KeyedSampler):
    """Draws images with replacement, those of rare classes more often; an epoch has as many as the dataset.

    Order and keys are functions of (seed, epoch), as those of `KeyedSampler`; an image that is drawn again gets another
    crop.

    Args:
        dataset: what is sampled; it has `labels`.
        weights: how often an image of each class is drawn beside the others, K numbers above 0; None, inversely to the
            number of images of its class. An image of several classes has the largest weight among these, and one of
            none that of a class of their own.
        power: exponent of the weights: 1 balances the classes, 0.5 half-way, 0 draws all images alike.
        seed: the runner's; None is 0.

    Raises:
        UsageError: a dataset without labels of classes, or weights that do not fit them.
    """

    def __init__(
        self, dataset: Any, weights: Sequence[float] | None = None, power: float = 1.0, seed: int | None = None
    ) -> None:
        super().__init__(dataset, shuffle=True, seed=seed)
        labels = getattr(dataset, "labels", None)
        if labels is None or not dataset.classes:
            raise UsageError(
                "BalancedSampler weights images by their classes, but the dataset has none: give it labels."
            )
        if weights is not None and (len(weights) != len(dataset.classes) or not min(weights) > 0):
            raise UsageError(
                f"BalancedSampler got weights={list(weights)}, but must have {len(dataset.classes)} numbers above 0, "
                "one for each class."
            )
        if not 0 <= power <= 1:
            raise UsageError(f"BalancedSampler got power={power!r}: give a number from 0 to 1.")
        self.weights = _weights_of(labels, len(dataset.classes), weights).pow(power)  # (N,)

    def __iter__(self) -> Iterator[SampleKey]:
        own = self._images()
        keys = sample_keys(self.seed, self.epoch, own)
        # Every draw of an image has its place in the key, so that no two of an epoch are the same crop.
        places = torch.arange(len(own)) * self.world_size + self.rank
        keys = mix(keys, -1 - places)
        yield from map(SampleKey, own[self.start :].tolist(), keys[self.start :].tolist())

    def _images(self) -> Tensor:
        key = sample_keys(self.seed, self.epoch, torch.tensor(0))
        generator = torch.Generator().manual_seed(int(key))
        # Unlike torch.multinomial, this has no limit on the number of images.
        bounds = self.weights.cumsum(0)
        draws = torch.rand(len(self) * self.world_size, generator=generator, dtype=torch.float64) * bounds[-1]
        drawn = torch.searchsorted(bounds, draws, right=True).clamp(max=len(bounds) - 1)
        return drawn[self.rank :: self.world_size]


def _weights_of(labels: Tensor, num_classes: int, weights: Sequence[float] | None) -> Tensor:
    """Return the weight of each image, float64 (N,)."""
    has = labels > 0 if labels.ndim == 2 else torch.nn.functional.one_hot(labels, num_classes).bool()  # (N, K)
    has = torch.cat([has, ~has.any(dim=1, keepdim=True)], dim=1)  # (N, K + 1)
    counts = has.sum(dim=0).clamp(min=1).double()
    of_class = 1 / counts if weights is None else torch.tensor([*weights, min(weights)], dtype=torch.float64)
    return torch.where(has, of_class, 0.0).amax(dim=1)
