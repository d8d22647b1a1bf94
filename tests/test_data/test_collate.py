"""A batch from a worker is PyTorch's, and its memory is used again only when nobody reads it any more."""

import gc

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from maetool.data import collate, collate_samples
from maetool.errors import UsageError

SIDE = 64


class Numbered(Dataset):
    """Images of their own index, and how many slots the worker has by then."""

    def __init__(self, dtype=torch.uint8, side=SIDE):
        self.dtype, self.side = dtype, side

    def __len__(self):
        return 200

    def __getitem__(self, index):
        image = torch.full((3, self.side, self.side), index, dtype=self.dtype)
        return {"inputs": image, "weight": image[0] / 2, "index": index, "name": str(index), "slots": len(slots())}


def slots():
    return collate._slots.all


def batches_of(dataset, collate_fn=collate_samples, batch_size=8, **settings):
    return DataLoader(dataset, batch_size, num_workers=1, collate_fn=collate_fn, **settings)


def is_right(batch):
    return bool((batch["inputs"] == batch["index"].to(batch["inputs"].dtype)[:, None, None, None]).all())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bool])
def test_a_batch_is_that_of_pytorch(dtype):
    for mine, expected in zip(batches_of(Numbered(dtype)), batches_of(Numbered(dtype), default_collate), strict=True):
        assert mine.keys() == expected.keys()
        assert mine["name"] == expected["name"]
        for name in ("inputs", "weight", "index"):
            assert mine[name].dtype is expected[name].dtype
            assert torch.equal(mine[name], expected[name])


def test_batches_that_are_dropped_leave_their_memory_to_the_next():
    found = [int(batch["slots"].max()) for batch in batches_of(Numbered(), prefetch_factor=2) if is_right(batch)]
    assert len(found) == 25
    assert max(found) <= 2 * 6  # inputs and weights of: two on the way, one here, one being stacked, and what overlaps


@pytest.mark.parametrize(
    "part", [lambda t: t, lambda t: t[3, 1], lambda t: t.numpy(), lambda t: t[0].permute(1, 2, 0), torch.detach]
)
def test_what_is_still_read_stays(part):
    kept = []
    for batch in batches_of(Numbered(), prefetch_factor=2):
        kept.append((part(batch["inputs"]), np.asarray(part(batch["inputs"])).copy()))
    assert int(batch["slots"].max()) >= 20
    for now, then in kept:
        assert np.array_equal(now, then)


def test_a_second_epoch_uses_the_memory_of_the_first():
    loader = batches_of(Numbered(), prefetch_factor=2, persistent_workers=True)
    first, second = ([int(batch["slots"].max()) for batch in loader if is_right(batch)] for _ in range(2))
    assert len(first) == len(second) == 25
    assert max(second) <= 2 * 6


def test_memory_of_gathered_batches_is_let_go():
    loader = batches_of(Numbered(), prefetch_factor=2, persistent_workers=True)
    gathered = list(loader)
    assert int(gathered[-1]["slots"].max()) >= 2 * 20
    del gathered
    gc.collect()
    later = [int(batch["slots"].max()) for batch in loader]
    assert later[-1] < 2 * 6 + collate._SPARE


def test_each_size_has_its_memory(monkeypatch):
    monkeypatch.setattr(collate, "_slots", collate._Slots())
    monkeypatch.setattr(collate, "get_worker_info", lambda: True)
    for side in (128, 64, 128, 64):
        for lent in collate_samples(
            [{"inputs": torch.zeros(3, side, side), "weight": torch.zeros(side, 256)}] * 4
        ).values():
            lent.content[0][0] = 0
    assert len(slots()) == 4


def test_a_forked_process_does_not_give_back_what_its_parent_reads(monkeypatch):
    slot = torch.zeros(collate._HEADER + 4, dtype=torch.uint8)
    slot[0] = 1
    received = collate._receive(slot, (4,), torch.uint8)
    with monkeypatch.context() as child:
        child.setattr(collate.os, "getpid", lambda: 1)
        del received
    assert slot[0] == 1


def test_small_or_other_samples_are_left_to_pytorch(monkeypatch):
    monkeypatch.setattr(collate, "get_worker_info", lambda: True)
    assert torch.equal(collate_samples([(torch.ones(2), 1)] * 2)[0], torch.ones(2, 2))
    before = len(slots())
    assert torch.equal(collate_samples([{"inputs": torch.ones(2)}] * 2)["inputs"], torch.ones(2, 2))
    assert len(slots()) == before


@pytest.mark.parametrize("workers", [0, 1])
def test_samples_of_several_sizes_are_one_sentence(workers):
    samples = [{"inputs": {"first": torch.zeros(3, 160, side)}, "index": side} for side in (160, 160, 200)]
    loader = DataLoader(samples, 3, num_workers=workers, collate_fn=collate_samples)
    with pytest.raises(UsageError, match=r"differ in size, `inputs.first` of 3x160x160 and 3x160x200: crop or resize"):
        next(iter(loader))
