"""Which sample is wanted, and the key of its randomness: what every augmentation draws from."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import get_worker_info


class SampleKey(NamedTuple):
    """What the sampler hands to the dataset: which sample, and the key of its randomness in this epoch."""

    index: int
    key: int


@contextmanager
def keyed_rng(key: int, torch_alone: bool = False) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's generators from `key`, and put their states back afterwards.

    Augmentation libraries draw from these generators, so this is what makes any of them a function of the key. In a
    worker process nobody else draws, so nothing is put back: that would take ten times as long as the seeding.

    Args:
        key: of the sample.
        torch_alone: leave Python's and NumPy's generators out, whose seeding takes most of the time.
    """
    in_worker = get_worker_info() is not None
    states = None if in_worker else _states(torch_alone)
    if not torch_alone:
        random.seed(key)
        np.random.seed(key & 0xFFFFFFFF)  # noqa: NPY002
    torch.random.default_generator.manual_seed(key)
    try:
        yield
    finally:
        if states:
            for put_back, state in states:
                put_back(state)


def _states(torch_alone: bool) -> list[tuple[Callable[[Any], None], Any]]:
    """Return how to put a generator back, and to what, for each generator that is going to be seeded."""
    states = [(torch.set_rng_state, torch.get_rng_state())]
    if not torch_alone:
        states += [(random.setstate, random.getstate()), (np.random.set_state, np.random.get_state())]  # noqa: NPY002
    return states
