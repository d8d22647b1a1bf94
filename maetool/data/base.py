"""What every image dataset shares: a sample is loaded, then augmented with randomness that belongs to its key."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from maetool.ops.random import sample_keys
from maetool.registry import TRANSFORMS


class SampleKey(NamedTuple):
    """What the sampler hands to the dataset: which sample, and the key of its randomness in this epoch."""

    index: int
    key: int


@contextmanager
def keyed_rng(key: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's generators from `key`, and put their states back afterwards.

    Augmentation libraries draw from these generators, so this is what makes any of them a function of the key.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(key)
    np.random.seed(key & 0xFFFFFFFF)  # noqa: NPY002
    torch.random.default_generator.manual_seed(key)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


class ImageDataset(Dataset):
    """Base of the image datasets; a subclass writes `__len__` and `load`.

    Args:
        pipeline: transforms, each a config or a callable from an image (C, H, W) to an image (C, H, W).
        seed: seed of the augmentation where no sampler hands over a key.
    """

    metainfo: dict[str, Any] = {}

    def __init__(self, pipeline: Sequence[Any] = (), seed: int = 0) -> None:
        self.transforms = [TRANSFORMS.build(transform) for transform in pipeline]
        self.seed = seed

    def load(self, index: int) -> dict[str, Any]:
        """Return the sample as stored: `inputs`, a tensor (C, H, W), uint8 or float32, and for example `label`.

        With `weight`, bool (H, W), pixels that are False count nothing in the loss.
        """
        raise NotImplementedError(f"{type(self).__name__} must say how a sample is loaded: write `load`.")

    def __getitem__(self, item: int | SampleKey) -> dict[str, Any]:
        """Return `load`'s sample with its transforms applied (`weight` becomes float32), its `index` and its `key`.

        Args:
            item: an index, or an index and key from the sampler; the key makes crops, flips and masks repeatable.
        """
        index, key = item if isinstance(item, tuple) else self.key_of(item)
        sample = self.load(index)
        with keyed_rng(key):
            if "weight" in sample:
                sample["inputs"], sample["weight"] = self._transform_both(sample["inputs"], sample["weight"])
            else:
                sample["inputs"] = self._transform(sample["inputs"])
        return {**sample, "index": index, "key": key}

    def _transform(self, image: Tensor) -> Tensor:
        for transform in self.transforms:
            image = transform(image)
        return image

    def _transform_both(self, image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        # The weight rides along as one more channel, so that crops and flips hit both alike.
        one = 255 if image.dtype == torch.uint8 else 1
        both = self._transform(torch.cat([image, weight[None].to(image.dtype) * one]))
        return both[:-1], (both[-1] > one / 2).float()

    def key_of(self, index: int, epoch: int = 0) -> SampleKey:
        """Return the key that sample `index` has in `epoch` under this dataset's own seed."""
        return SampleKey(index, int(sample_keys(self.seed, epoch, torch.tensor(index))))
