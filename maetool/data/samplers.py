"""The order of the samples, a function of (seed, epoch) that can start anywhere."""

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any

import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_dist_info
from torch import Tensor
from torch.utils.data import Sampler

from maetool.data.keys import SampleKey, keyed_rng
from maetool.errors import UsageError
from maetool.ops.random import mix, sample_keys
from maetool.registry import DATA_SAMPLERS

_AT_ONCE = 4096  # samples; a million keys as Python's numbers would take 100 MB


@DATA_SAMPLERS.register_module()
class KeyedSampler(Sampler):
    """Yields the samples of this process in an epoch, each with the key of its randomness.

    The key is a function of (seed, epoch, index, crop): crops, flips and masks depend neither on the number of workers
    or processes nor on what was drawn before, and a run can start in the middle of an epoch. Process r of n takes the
    images r, r + n, ... of the common order.

    Args:
        dataset: what is sampled.
        shuffle: a new order each epoch; without it, samples come in order and every epoch has the same keys, so that
            an evaluation repeats exactly.
        seed: the runner's; None is 0.
        repeats: K crops of each image follow each other, so that it is read and decoded once for K samples ("repeated
            augmentation", Hoffer et al., "Augment your batch", 2020). An epoch stays as long, counted in images that
            the model sees: it visits every K-th image, and K epochs visit all.

    Raises:
        UsageError: `repeats` is no positive number, or above 1 without `shuffle`.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None, repeats: int = 1) -> None:
        if type(repeats) is not int or repeats < 1:
            raise UsageError(f"KeyedSampler got repeats={repeats!r}: give the number of crops of a decode, at least 1.")
        if repeats > 1 and not shuffle:
            raise UsageError(f"KeyedSampler got repeats={repeats} without shuffle: an evaluation sees each image once.")
        self.dataset, self.shuffle, self.seed, self.repeats = dataset, shuffle, seed or 0, repeats
        self.rank, self.world_size = get_dist_info()
        self.epoch, self.start = 0, 0

    def set_position(self, epoch: int, start: int = 0) -> None:
        """Let the next pass be that of `epoch`, without the first `start` samples of this process."""
        self.epoch, self.start = epoch, start

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be that of `epoch`; MMEngine's hooks and loops, Lightning and accelerate call this.

        A start inside this same epoch, see `set_position`, stays; any other epoch begins at its first sample.
        """
        if epoch != self.epoch:
            self.set_position(epoch)

    def __len__(self) -> int:
        """Number of samples of this process in a whole epoch; shuffled orders repeat a few to be even."""
        total = len(self.dataset)
        return -(-total // self.world_size) if self.shuffle else len(range(self.rank, total, self.world_size))

    def __iter__(self) -> Iterator[SampleKey]:
        own, epoch = self._images(), self.epoch if self.shuffle else 0
        for start in range(self.start, len(self), _AT_ONCE):
            places = torch.arange(start, min(start + _AT_ONCE, len(self)))
            images, crops = own[places // self.repeats], places % self.repeats
            keys = sample_keys(self.seed, epoch, images)
            # The first crop is that of a run without repeats; counters from 0 on are what `KeyedRandom` draws with.
            keys = torch.where(crops == 0, keys, mix(keys, -1 - crops))
            yield from map(SampleKey, images.tolist(), keys.tolist())

    def _images(self) -> Tensor:
        """Return the indices of the images that this process visits in this epoch."""
        total, repeats, world = len(self.dataset), self.repeats, self.world_size
        if not self.shuffle:
            return torch.arange(self.rank, total, world)
        # One order serves K epochs, each taking its part.
        key = sample_keys(self.seed, self.epoch // repeats, torch.tensor(0))
        order = torch.randperm(total, generator=torch.Generator().manual_seed(int(key)))
        visits = -(-len(self) // repeats) * world
        first = self.epoch % repeats * visits
        return order[torch.arange(first, first + visits) % total][self.rank :: world]


class KeyedOrder(Sampler):
    """Puts keys on the samples of any other sampler, such as MMEngine's `DefaultSampler`.

    Crops and masks then change with the epoch, and a run can resume inside an epoch. The order is the other sampler's:
    that of (its seed, epoch) where it has a `set_epoch`, else what it draws from generators that are seeded with
    (seed, epoch). A sampler that keeps a generator of its own resumes with another order.

    Args:
        sampler: yields indices; an object, or the config of one that is built with `dataset` and `seed`.
        dataset: what is sampled. Only a dataset with `key_of` gets keys, others get the indices as they are.
        seed: of the keys; None is 0.
    """

    def __init__(self, sampler: Any, dataset: Sized, seed: int | None = None) -> None:
        self.sampler = DATA_SAMPLERS.build(sampler, default_args={"dataset": dataset, "seed": seed})
        self.dataset, self.seed = dataset, seed or 0
        self.endless = isinstance(self.sampler, InfiniteSampler)
        self.world_size = get_dist_info()[1]
        self.epoch, self.start = 0, 0

    def set_position(self, epoch: int, start: int = 0) -> None:
        """Let the next pass be that of `epoch`, without the first `start` samples of this process.

        An endless order has no epochs: give 0, and as `start` all samples of this process so far.
        """
        self.epoch, self.start = epoch, start

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be that of `epoch`, see `KeyedSampler.set_epoch`; an endless order takes no notice."""
        if epoch != self.epoch and not self.endless:
            self.set_position(epoch)

    def __len__(self) -> int:
        """Number of samples of this process in a whole epoch; of an endless order in one pass over the dataset."""
        return -(-len(self.dataset) // self.world_size) if self.endless else len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        order, place = islice(self._order(), self.start, None), self.start
        if not hasattr(self.dataset, "key_of"):
            yield from order
            return
        while indices := list(islice(order, _AT_ONCE)):
            laps = torch.arange(place, place + len(indices)) * self.world_size // len(self.dataset)
            for lap in laps.unique().tolist():
                part = torch.tensor(indices)[laps == lap]
                yield from map(SampleKey, part.tolist(), sample_keys(self.seed, self.epoch + lap, part).tolist())
            place += len(indices)

    def _order(self) -> Iterable[int]:
        if self.endless:  # from its beginning: the sampler itself goes on from wherever workers have read ahead to
            return iter(type(self.sampler)(self.dataset, self.sampler.shuffle, self.sampler.seed))
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(self.epoch)
        with keyed_rng(int(sample_keys(self.seed, self.epoch, torch.tensor(0)))):
            return list(self.sampler)
