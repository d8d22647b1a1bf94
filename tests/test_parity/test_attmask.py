"""The masks of gkakogeorgiou/attmask (tests/data/README.md)."""

import pytest
import torch
from golden import load

from maetool.maskers import AttentionMasker
from maetool.ops.random import sample_keys


@pytest.fixture
def golden(data_dir):
    return load(data_dir, "attmask")[0]


def plan_of(golden, **options):
    ratio = golden["mask_ratio"].item()
    masker = AttentionMasker(**{"ratios": (ratio, ratio), "unmasked": 0.0, **options})
    attention = torch.zeros(8, 1, 197, 197)
    attention[:, 0, 0, 1:] = golden["attention"]
    keys = sample_keys(0, 0, torch.arange(8))
    return masker(torch.zeros(8, 3, 1, 1), (14, 14), keys=keys, clues={"attention": attention})


@pytest.mark.parametrize("choose", ["high", "low"])
def test_masks(golden, choose):
    assert plan_of(golden, choose=choose).mask.equal(golden[f"mask/attmask_{choose}"])


def test_hints(golden):
    """The published draw is torch's; ours hides what is no candidate for a hint alike, and shows as many of these."""
    mask, published = plan_of(golden, choose="hint", hint=golden["show_max"].item()).mask, golden["mask/attmask_hint"]
    candidates = golden["hint/candidates"]
    assert mask[~candidates].equal(published[~candidates])
    assert (~mask & candidates).sum(dim=1).eq(golden["hint/revealed"]).all()


def test_counts(golden):
    for ratio, count in zip(golden["ratios"].tolist(), golden["counts"].tolist(), strict=True):
        mask = plan_of(golden, choose="high", ratios=(ratio, ratio), hint=ratio).mask
        assert mask.sum(dim=1).eq(count).all()
