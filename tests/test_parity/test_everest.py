"""The numbers of sunilhoho/EVEREST (tests/data/README.md)."""

import pytest
import torch
from golden import close, load
from videomae_model import GivenRandom, check_step, videomae

from maetool.maskers import ChangeMasker
from maetool.structures import Layout, MaskPlan


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "everest")
    masker = ChangeMasker(1 - golden["keep_ratio"].item(), 1 - golden["informative_ratio"].item())
    return golden, videomae(masker, state, side=32)


def test_what_changed_is_seen_or_predicted(case):
    golden, model = case
    close(model.encoder.tokens(golden["clip"]), golden["tokens"])
    plan = model.masker.plan(GivenRandom(golden["noise"]), Layout.of((8, 4, 4)), tokens=golden["tokens"])
    used = torch.zeros(2, 128, dtype=torch.bool).scatter(1, torch.cat([plan.ids_keep, plan.ids_predict], dim=1), True)
    assert used.equal(~(golden["mask"] & golden["not_predicted"]))
    # The first two slices tie, and the published sort is not stable: which of such a pair is seen is arbitrary.
    ours, published = (
        golden["importance"][~mask].view(2, -1).sort(dim=1).values for mask in (plan.mask, golden["mask"])
    )
    assert plan.num_keep == 12 and ours.equal(published)


def test_step(case):
    golden, model = case
    scores = 1.0 + golden["mask"].float() - golden["not_predicted"].float()  # seen 0, left out 1, predicted 2
    scores[~golden["mask"]] = 0.0
    check_step(model, golden, MaskPlan.from_scores(scores, 12, (8, 4, 4), num_predict=26))


def test_counts_of_the_published_size():
    masker = ChangeMasker(0.9, 0.7)
    assert (masker.num_keep((8, 14, 14)), masker.num_predict((8, 14, 14))) == (156, 314)
