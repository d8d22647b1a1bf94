"""The order of the samples, a function of (seed, epoch) that can start anywhere."""

from collections.abc import Iterator, Sized

import torch
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from maetool.ops.random import sample_keys
from maetool.registry import DATA_SAMPLERS

from .base import SampleKey


@DATA_SAMPLERS.register_module()
class KeyedSampler(Sampler):
    """Yields each sample of this process once an epoch, with the key of its randomness.

    The key is a function of (seed, epoch, index): crops, flips and masks depend neither on the number of workers or
    processes nor on what was drawn before, and a run can start in the middle of an epoch. Process r of n takes the
    samples r, r + n, ... of the common order.

    Args:
        dataset: what is sampled.
        shuffle: a new order each epoch; without it, samples come in order and every epoch has the same keys, so that
            an evaluation repeats exactly.
        seed: the runner's; None is 0.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        self.dataset, self.shuffle, self.seed = dataset, shuffle, seed or 0
        self.rank, self.world_size = get_dist_info()
        self.epoch, self.start = 0, 0

    def set_position(self, epoch: int, start: int = 0) -> None:
        """Let the next pass be that of `epoch`, without the first `start` samples of this process."""
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        """Number of samples of this process in a whole epoch; shuffled orders repeat a few to be even."""
        total = len(self.dataset)
        return -(-total // self.world_size) if self.shuffle else len(range(self.rank, total, self.world_size))

    def __iter__(self) -> Iterator[SampleKey]:
        order = torch.arange(len(self.dataset))
        if self.shuffle:
            generator = torch.Generator().manual_seed(int(sample_keys(self.seed, self.epoch, torch.tensor(0))))
            order = torch.randperm(len(self.dataset), generator=generator)
            order = torch.cat([order, order[: len(self) * self.world_size - len(order)]])
        own = order[self.rank :: self.world_size][self.start :]
        keys = sample_keys(self.seed, self.epoch if self.shuffle else 0, own)
        for index, key in zip(own.tolist(), keys.tolist(), strict=True):
            yield SampleKey(index, key)
