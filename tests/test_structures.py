"""The mask plan."""

from dataclasses import replace

import pytest
import torch

from maetool.errors import UsageError
from maetool.structures import MaskPlan, plan_of_predicted

GRIDS = [((6, 6), 9), ((2, 18), 9), ((14, 14), 49), ((3, 4, 5), 15), ((10,), 3)]


def plan_of(grid, num_keep, batch=5, **options):
    scores = torch.rand(batch, torch.Size(grid).numel(), generator=torch.Generator().manual_seed(0))
    return MaskPlan.from_scores(scores, num_keep, grid, **options), scores


@pytest.mark.parametrize(("grid", "num_keep"), GRIDS)
def test_from_scores_keeps_the_smallest(grid, num_keep):
    plan, scores = plan_of(grid, num_keep)
    plan.validate()
    assert (plan.mask.sum(1) == scores.shape[1] - num_keep).all()
    assert (scores[~plan.mask].view(5, -1).max(1).values < scores[plan.mask].view(5, -1).min(1).values).all()
    assert torch.equal(plan.ids_predict, plan.mask.nonzero()[:, 1].view(5, -1))


def test_ties_go_to_the_lower_index():
    plan = MaskPlan.from_scores(torch.zeros(1, 6), 2, (2, 3))
    assert plan.ids_keep.tolist() == [[0, 1]]


@pytest.mark.parametrize(("grid", "num_keep"), GRIDS)
def test_keep_restore_scatter(grid, num_keep):
    plan, _ = plan_of(grid, num_keep)
    tokens = torch.randn(5, plan.mask.shape[1], 7)
    restored = plan.restore(plan.keep(tokens), torch.zeros(1, 1, 7))
    assert torch.equal(restored, tokens.masked_fill(plan.mask[..., None], 0))
    whole = plan.scatter(plan.take_predicted(tokens), restored)
    assert torch.equal(whole, tokens)


def test_partial_prediction():
    plan, scores = plan_of((6, 6), 9, num_predict=5)
    plan.validate()
    chosen = scores.gather(1, plan.ids_predict)
    assert chosen.shape == (5, 5)
    assert torch.equal(chosen.sort(1).values, scores.sort(1).values[:, -5:])


def test_weight_follows_the_predicted():
    weight = torch.rand(5, 36)
    plan, _ = plan_of((6, 6), 9, weight=weight)
    assert torch.equal(plan.validate().weight, weight.gather(1, plan.ids_predict))


def test_from_mask_in_both_shapes():
    plan, _ = plan_of((2, 18), 9)
    for mask in (plan.mask, plan.mask.view(5, 2, 18), plan.mask.float()):
        again = MaskPlan.from_mask(mask, (2, 18)).validate()
        assert torch.equal(again.mask, plan.mask)
        assert torch.equal(again.ids_predict, plan.ids_predict)


def test_mask_at_other_sizes():
    plan = MaskPlan.from_mask(torch.tensor([[[1, 0], [0, 1]]]), (2, 2))
    assert plan.mask_at((4, 2)).int().tolist() == [[[1, 0], [1, 0], [0, 1], [0, 1]]]
    assert plan.mask_at((1, 2)).int().tolist() == [[[1, 0]]]


@pytest.mark.parametrize(
    ("num_keep", "num_predict"), [(0, None), (36, None), (40, None), (9, 0), (9, 28)], ids=lambda value: str(value)
)
def test_impossible_counts(num_keep, num_predict):
    with pytest.raises(UsageError, match="Of 36 patches"):
        plan_of((6, 6), num_keep, num_predict=num_predict)


def test_validate_notices_every_lie():
    plan, _ = plan_of((6, 6), 9)
    lies = {
        "permutation": {"ids_restore": plan.ids_restore.clone().fill_(3)},
        "mask and ids_keep": {"mask": plan.mask.roll(1, 1)},
        "ids_keep first": {"ids_restore": plan.ids_restore.flip(1)},
        "ascends": {"ids_predict": plan.ids_predict.flip(1)},
        "on the grid": {"ids_predict": plan.ids_predict + 30},
        "shape of ids_predict": {"weight": torch.ones(5, 3)},
    }
    for claim, change in lies.items():
        with pytest.raises(ValueError, match=claim):
            replace(plan, **change).validate()


def test_what_is_predicted_may_be_what_is_visible():
    plan = MaskPlan.from_scores(torch.rand(3, 12), torch.tensor([4, 12, 1]), (3, 4))
    shown = plan_of_predicted(plan).validate()
    asked = plan.weight > 0
    assert torch.equal(~shown.mask[[0, 2]], plan.mask[[0, 2]])
    assert torch.equal(shown.keep_valid[[0, 2]], asked[[0, 2]]) and shown.keep_valid[1].all()  # none asked: all stay
    few = MaskPlan.from_scores(torch.rand(2, 12), 4, (3, 4), num_predict=2)
    assert plan_of_predicted(few).validate().keep_valid is None
    groups = replace(plan, group=torch.zeros_like(plan.ids_predict))
    with pytest.raises(UsageError, match=r"has groups that are predicted separately.*no single set"):
        plan_of_predicted(groups)
