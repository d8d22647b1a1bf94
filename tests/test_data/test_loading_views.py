"""Samples of several tensors from a loader: the same with and without workers, from any place of an epoch on."""

import pytest
import torch
from torch.utils.data import DataLoader

from maetool.data import (
    BandsDataset,
    KeyedSampler,
    MovingShapesDataset,
    ScenePairsDataset,
    ShapesDataset,
    collate,
    collate_samples,
)
from maetool.data.drawn.bands import GROUPS

CROP = [{"type": "RandomResizedCrop", "size": 32}, {"type": "RandomHorizontalFlip"}]
SPLIT = {"type": "SplitViews", "groups": {"first": [0, 1, 2], "second": [3, 4, 5]}}
RANDOM_CROP = {"type": "torchvision.transforms.v2.RandomCrop", "size": 32}
DATASETS = {
    "views": lambda: ShapesDataset(32, 48, pipeline=[{"type": "GlobalToLocalViews", "size": 64}]),
    "frames": lambda: MovingShapesDataset(32, 40, 4, pipeline=[*CROP, {"type": "TwoFrames", "gap": (1, 3)}]),
    "pairs": lambda: ScenePairsDataset(32, 40, pipeline=[SPLIT, RANDOM_CROP]),
    "clips": lambda: MovingShapesDataset(32, 40, 4, pipeline=CROP),
    "streams": lambda: BandsDataset(32, 32, pipeline=[*CROP, {"type": "SplitChannels", "groups": GROUPS}]),
    "codes": lambda: ShapesDataset(32, 48, pipeline=[*CROP, {"type": "ColourCodes"}]),
}


def batches(make, workers, start=0):
    dataset = make()
    sampler = KeyedSampler(dataset, seed=3)
    sampler.set_position(1, start)
    return list(DataLoader(dataset, 8, sampler=sampler, num_workers=workers, collate_fn=collate_samples))


def tensors(batch):
    inputs = batch["inputs"] if isinstance(batch["inputs"], dict) else {"image": batch["inputs"]}
    return {**inputs, "label": batch["label"], "key": batch["key"], "index": batch["index"]}


def assert_equal(some, others):
    assert len(some) == len(others) > 0
    for one, other in zip(map(tensors, some), map(tensors, others), strict=True):
        assert list(one) == list(other)
        assert all(torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one)


@pytest.mark.parametrize("name", DATASETS)
def test_workers_give_the_same_batches_and_an_epoch_goes_on_anywhere(name):
    expected = batches(DATASETS[name], 0)
    assert_equal(batches(DATASETS[name], 2), expected)
    assert_equal(batches(DATASETS[name], 2, start=16), expected[2:])


def test_large_views_lie_in_memory_that_is_used_again(monkeypatch):
    monkeypatch.setattr(collate, "_slots", collate._Slots())
    monkeypatch.setattr(collate, "get_worker_info", lambda: True)
    samples = [{"inputs": {"first": torch.zeros(3, 128, 128), "second": torch.ones(3, 128, 128)}, "index": 0}] * 4
    for _ in range(3):
        batch = collate_samples(samples)
        assert type(batch["inputs"]) is dict and batch["index"].tolist() == [0] * 4
        received = {name: lent.__reduce__() for name, lent in batch["inputs"].items()}
        received = {name: make(*content) for name, (make, content) in received.items()}
        assert received["second"].shape == (4, 3, 128, 128) and received["second"].min() == 1
        del received
    assert len(collate._slots.all) == 2
