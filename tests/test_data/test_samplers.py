"""The order of the samples and the randomness of their keys."""

import itertools
import random
from itertools import islice

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Sampler, default_collate

from maetool.data import (
    ImageDataset,
    KeyedOrder,
    KeyedSampler,
    RandomHorizontalFlip,
    RandomResizedCrop,
    SampleKey,
    ShapesDataset,
)
from maetool.data.keys import keyed_rng
from maetool.errors import UsageError
from maetool.ops.random import sample_keys


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


def test_only_torch_is_seeded_where_all_draw_by_it_alone(monkeypatch):
    data, crops = Noise(), Noise()
    crops.transforms = [RandomResizedCrop(4), RandomHorizontalFlip()]
    with keyed_rng(11):  # seeds all
        expected = crops.transforms[1](crops.transforms[0](crops.load(3)["inputs"]))
    monkeypatch.setattr("random.seed", lambda key: pytest.fail("seeded"))
    assert torch.equal(crops[SampleKey(3, 11)]["inputs"], expected)
    with pytest.raises(pytest.fail.Exception, match="seeded"):
        data[3]  # one of its transforms draws from NumPy


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


def test_repeats_visit_every_image_in_k_epochs_and_keep_the_length_of_an_epoch(monkeypatch):
    for number, repeats, world in ((12, 4, 1), (10, 4, 1), (24, 2, 3), (23, 4, 2), (3, 8, 1)):
        parts = [sampler(monkeypatch, r, world, number, seed=1, repeats=repeats) for r in range(world)]
        seen = []
        for epoch in range(repeats):
            for part in parts:
                part.set_position(epoch)
                items = list(part)
                assert len(items) == len(part) == -(-number // world)
                changes = sum(a.index != b.index for a, b in itertools.pairwise(items))
                assert changes <= (len(items) - 1) // repeats  # crops of one image follow each other
                seen += items
        assert {item.index for item in seen} == set(range(number))
        if number % (repeats * world) == 0:
            assert sorted(item.index for item in seen) == sorted([*range(number)] * repeats)
            assert len({item.key for item in seen}) == len(seen)


def test_the_first_crop_is_that_of_a_run_without_repeats(monkeypatch):
    s = sampler(monkeypatch, number=16, seed=3, repeats=4)
    s.set_position(2)
    for item in list(s)[::4]:
        assert item.key == int(sample_keys(3, 2, torch.tensor(item.index)))


def test_keys_of_crops_depend_on_nothing_but_seed_epoch_index_and_crop(monkeypatch):
    def keys(rank, world):
        s = sampler(monkeypatch, rank, world, 24, seed=5, repeats=4)
        s.set_position(4)
        return {(item.index, i % 4): item.key for i, item in enumerate(s)}

    parts = keys(0, 2) | keys(1, 2)
    assert all(parts[place] == key for place, key in keys(0, 1).items() if place in parts)
    assert len(parts.keys() & keys(0, 1).keys()) == 24


@pytest.mark.parametrize("start", [4, 8, 6, 9])
def test_repeats_start_inside_an_epoch_and_inside_an_image(monkeypatch, start):
    s = sampler(monkeypatch, number=20, seed=1, repeats=4)
    s.set_position(1)
    whole = list(s)
    s.set_position(1, start)
    assert list(s) == whole[start:]


class Counted(Noise):
    """Counts its loads."""

    loads = 0

    def load(self, index):
        self.loads += 1
        return super().load(index)


def test_a_batch_loads_each_image_once():
    data = Counted(16)
    data.transforms[0] = lambda image: image.add_(torch.rand(1))  # works in place
    loader = DataLoader(data, 8, sampler=KeyedSampler(data, seed=2, repeats=4))
    batch = next(iter(loader))
    assert data.loads == 2
    alone = [data[SampleKey(int(i), int(k))]["inputs"] for i, k in zip(batch["index"], batch["key"], strict=True)]
    assert torch.equal(batch["inputs"], torch.stack(alone))
    assert len(batch["inputs"].flatten(1).unique(dim=0)) == 8


def test_workers_give_what_the_main_process_gives():
    data = Noise(24)

    def epoch(workers, batch):
        s = KeyedSampler(data, seed=2, repeats=3)
        return torch.cat([b["inputs"] for b in DataLoader(data, batch, sampler=s, num_workers=workers)])

    expected = epoch(0, 4)
    assert torch.equal(epoch(2, 4), expected)
    assert torch.equal(epoch(2, 6), expected)


class Threads(Noise):
    """Tells how many threads its process uses."""

    def load(self, index):
        return {"inputs": torch.tensor([[[float(cv2.getNumThreads() + torch.get_num_threads())]]])}


def test_workers_use_one_thread_each():
    data = Threads(4)
    data.transforms = []
    before = cv2.getNumThreads(), torch.get_num_threads()
    assert next(iter(DataLoader(data, 4, num_workers=1)))["inputs"].unique().tolist() == [2.0]
    next(iter(DataLoader(data, 4)))
    assert (cv2.getNumThreads(), torch.get_num_threads()) == before


def test_without_transforms_no_generator_is_touched(monkeypatch):
    data = Noise()
    data.transforms = []
    monkeypatch.setattr("maetool.data.datasets.base.keyed_rng", lambda key, torch_alone: pytest.fail("seeded"))
    assert data[3]["inputs"][0, 0, 0] == 3


@pytest.mark.parametrize("repeats", [0, -1, 1.5, True])
def test_nonsense_repeats(repeats):
    with pytest.raises(UsageError, match="at least 1"):
        KeyedSampler(range(4), repeats=repeats)
    with pytest.raises(UsageError, match="sees each image once"):
        KeyedSampler(range(4), shuffle=False, repeats=2)


def test_set_epoch_keeps_a_start_inside_that_epoch_only():
    s = KeyedSampler(range(10), seed=3)
    whole = {}
    for epoch in range(3):
        s.set_epoch(epoch)
        whole[epoch] = list(s)
    assert len({tuple(index for index, _ in samples) for samples in whole.values()}) == 3
    assert not {key for _, key in whole[0]} & {key for _, key in whole[1]}
    s.set_position(1, 4)
    s.set_epoch(1)
    assert list(s) == whole[1][4:]
    s.set_epoch(2)
    assert list(s) == whole[2]


class Indices(Sampler):
    """Draws its order from torch's global generator, as torch's own samplers do."""

    def __iter__(self):
        return iter(torch.randperm(10).tolist())

    def __len__(self):
        return 10


SAMPLERS = {"default": {"type": "DefaultSampler"}, "infinite": {"type": "InfiniteSampler"}, "torch's": Indices()}


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=list(SAMPLERS))
def test_any_sampler_gets_keys_and_begins_anywhere(sampler):
    data = ShapesDataset(10, img_size=16)
    order = KeyedOrder(sampler, data, seed=3)
    torch.manual_seed(8)
    first = list(islice(order, 10))
    order.set_position(0, 10) if order.endless else order.set_epoch(1)
    second = list(islice(order, 10))
    assert sorted(index for index, _ in first) == sorted(index for index, _ in second) == list(range(10))
    assert [index for index, _ in first] != [index for index, _ in second]
    assert len({key for _, key in first + second}) == 20
    order.set_position(0, 7)
    torch.manual_seed(9)
    assert list(islice(order, 3)) == first[7:]


def test_a_dataset_without_keys_gets_plain_indices():
    order = KeyedOrder({"type": "DefaultSampler", "shuffle": False}, range(5))
    order.set_position(0, 2)
    assert list(order) == [2, 3, 4]
