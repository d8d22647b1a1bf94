"""Sampling in which rare classes come as often as others."""

from types import SimpleNamespace

import pytest
import torch

from maetool.data import BalancedSampler
from maetool.errors import UsageError


class Labelled:
    def __init__(self, labels, classes):
        self.labels, self.classes = torch.as_tensor(labels), classes

    def __len__(self):
        return len(self.labels)


SKEWED = Labelled([0] * 900 + [1] * 90 + [2] * 10, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({}, [1 / 3, 1 / 3, 1 / 3]),
        ({"power": 0.0}, [0.9, 0.09, 0.01]),
        ({"weights": [1.0, 10.0, 90.0]}, [1 / 3, 1 / 3, 1 / 3]),
        ({"weights": [1.0, 1.0, 99.0]}, [900 / 1980, 90 / 1980, 990 / 1980]),
    ],
)
def test_shares_of_the_classes(options, shares):
    sampler = BalancedSampler(SKEWED, **options)
    drawn = []
    for epoch in range(10):
        sampler.set_epoch(epoch)
        drawn += [item.index for item in sampler]
    assert len(drawn) == 10_000
    counts = SKEWED.labels[torch.tensor(drawn)].bincount(minlength=3) / len(drawn)
    assert counts.tolist() == pytest.approx(shares, abs=0.02)


def test_an_order_is_a_function_of_seed_and_epoch_and_goes_on_inside():
    first, again, other = (list(BalancedSampler(SKEWED, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) == len(first) > len({item.index for item in first})  # a repeated image is another crop
    sampler = BalancedSampler(SKEWED, seed=1)
    sampler.set_position(0, 400)
    assert list(sampler) == first[400:]
    sampler.set_epoch(1)
    assert list(sampler)[:50] != first[:50]


def test_processes_share_an_order(monkeypatch):
    alone = list(BalancedSampler(SKEWED))
    parts = []
    for rank in range(2):
        monkeypatch.setattr("maetool.data.samplers.get_dist_info", lambda rank=rank: (rank, 2))
        parts.append(list(BalancedSampler(SKEWED)))
    assert [item for pair in zip(*parts, strict=True) for item in pair] == alone


def test_images_of_several_classes_and_of_none():
    labels = [[1.0, 0]] * 80 + [[1, 1]] * 10 + [[float("nan"), 0]] * 10
    weights = BalancedSampler(Labelled(labels, ["a", "b"])).weights
    assert weights[[0, 80, 90]].tolist() == pytest.approx([1 / 90, 1 / 10, 1 / 10])


@pytest.mark.parametrize(
    ("dataset", "options", "sentence"),
    [
        (SimpleNamespace(labels=None, classes=[]), {}, "the dataset has none"),
        (SKEWED, {"weights": [1.0, 2.0]}, "must have 3 numbers above 0"),
        (SKEWED, {"weights": [1.0, 2.0, 0.0]}, "must have 3 numbers above 0"),
        (SKEWED, {"power": 2.0}, "power=2.0: give a number from 0 to 1"),
    ],
)
def test_what_makes_no_sense(dataset, options, sentence):
    with pytest.raises(UsageError, match=sentence):
        BalancedSampler(dataset, **options)
