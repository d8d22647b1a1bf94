"""The order of the samples and the randomness of their keys."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from maetool.data import ImageDataset, KeyedSampler, SampleKey
from maetool.data.base import keyed_rng


class Noise(ImageDataset):
    """Images whose transforms draw from every generator that augmentation libraries use."""

    def __init__(self, number=10):
        super().__init__([lambda image: image + torch.rand(1), lambda image: image * random.random()], seed=7)
        self.transforms.append(lambda image: image + np.random.rand())
        self.number = number

    def __len__(self):
        return self.number

    def load(self, index):
        return {"inputs": torch.full((1, 2, 2), float(index))}


def sampler(monkeypatch, rank=0, world=1, number=10, **options):
    monkeypatch.setattr("maetool.data.samplers.get_dist_info", lambda: (rank, world))
    return KeyedSampler(range(number), **options)


def test_every_sample_once_an_epoch_in_a_new_order(monkeypatch):
    s = sampler(monkeypatch, number=50, seed=1)
    first = [item.index for item in s]
    s.set_position(1)
    second = [item.index for item in s]
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


@pytest.mark.parametrize("shuffle", [True, False])
def test_starting_inside_an_epoch_skips_exactly(monkeypatch, shuffle):
    s = sampler(monkeypatch, number=20, seed=1, shuffle=shuffle)
    s.set_position(3)
    whole = list(s)
    s.set_position(3, start=12)
    assert list(s) == whole[12:]
    assert len(s) == 20


def test_processes_share_one_order(monkeypatch):
    one = list(sampler(monkeypatch, number=12, seed=1))
    parts = [list(sampler(monkeypatch, rank=r, world=3, number=12, seed=1)) for r in range(3)]
    assert [parts[i % 3][i // 3] for i in range(12)] == one


def test_uneven_numbers(monkeypatch):
    train = [list(sampler(monkeypatch, rank=r, world=3, number=10)) for r in range(3)]
    assert [len(part) for part in train] == [4, 4, 4]
    assert {item.index for part in train for item in part} == set(range(10))
    evaluated = [list(sampler(monkeypatch, rank=r, world=3, number=10, shuffle=False)) for r in range(3)]
    assert [len(part) for part in evaluated] == [4, 3, 3]
    assert sorted(item.index for part in evaluated for item in part) == list(range(10))


def test_keys_differ_by_epoch_in_training_and_not_in_evaluation(monkeypatch):
    for shuffle, same in ((True, False), (False, True)):
        s = sampler(monkeypatch, shuffle=shuffle)
        first = dict(s)
        s.set_position(1)
        assert (first == dict(s)) is same


def test_a_sample_is_a_function_of_its_key():
    data = Noise()
    first = data[SampleKey(3, 11)]
    torch.rand(5), random.random(), np.random.rand()
    assert torch.equal(first["inputs"], data[SampleKey(3, 11)]["inputs"])
    assert not torch.equal(first["inputs"], data[SampleKey(3, 12)]["inputs"])
    assert torch.equal(data[3]["inputs"], data[data.key_of(3)]["inputs"])


def test_the_generators_are_put_back():
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    expected = torch.rand(1).item(), random.random(), np.random.rand()
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    with keyed_rng(5):
        torch.rand(1), random.random(), np.random.rand()
    assert expected == (torch.rand(1).item(), random.random(), np.random.rand())


def test_loader_hands_keys_to_the_dataset():
    data = Noise()
    loader = DataLoader(data, batch_size=4, sampler=KeyedSampler(data, seed=2))
    batch = next(iter(loader))
    again = default_collate(
        [data[SampleKey(int(i), int(k))] for i, k in zip(batch["index"], batch["key"], strict=True)]
    )
    assert torch.equal(batch["inputs"], again["inputs"])


def test_a_dataset_without_load_says_what_to_write():
    class Empty(ImageDataset):
        pass

    with pytest.raises(NotImplementedError, match="write `load`"):
        Empty()[0]
