"""Of two patches the harder one must be predicted as the harder one."""

import math

import pytest
import torch

from maetool.heads import RankingHead
from maetool.structures import MaskPlan


def plan_of(weight=None):
    return MaskPlan.from_scores(torch.rand(2, 6), 2, (2, 3), weight=weight)


def numbers(seed, width=1):
    return torch.randn(2, 4, width, generator=torch.Generator().manual_seed(seed))


def one_pair_after_another(pred, target, weight):
    """Return what the published sum over all ordered pairs is, in float64."""
    total = count = 0.0
    for sample in range(2):
        for a in range(4):
            for b in range(4):
                pair, d = weight[sample][a] * weight[sample][b], pred[sample][b] - pred[sample][a]
                right = 1 / (1 + math.exp(-d))
                if target[sample][b] > target[sample][a]:
                    total, count = total - pair * math.log(right + 1e-6), count + pair
                elif target[sample][b] < target[sample][a]:
                    total, count = total - pair * math.log(1 - right + 1e-6), count + pair
    return total / count


@pytest.mark.parametrize("weighted", [False, True])
def test_the_mean_over_all_pairs(weighted):
    pred, target = numbers(0, 3), numbers(1)
    target[0, 1] = target[0, 3]  # which is no pair
    plan = plan_of(torch.tensor([[0.0, 1.0, 2.0, 0.5, 3.0, 1.0]] * 2) if weighted else None)
    weight = plan.weight.tolist() if weighted else [[1.0] * 4] * 2
    expected = one_pair_after_another(pred.mean(dim=-1).tolist(), target[..., 0].tolist(), weight)
    assert RankingHead()(pred, target, plan)["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_only_the_order_matters():
    head, plan, target = RankingHead(), plan_of(), numbers(1)
    ordered = target.argsort(dim=1).argsort(dim=1).float() * 50
    right, wrong = head(ordered, target, plan), head(-ordered, target, plan)
    assert right["loss"] < 1e-5 and right["pair_accuracy"] == 1.0
    assert wrong["loss"].item() == pytest.approx(-math.log(1e-6), rel=1e-3) and wrong["pair_accuracy"] == 0.0
    assert head(ordered, target.exp(), plan)["loss"] == right["loss"]
    assert head(torch.zeros(2, 4, 1), target, plan)["loss"].item() == pytest.approx(math.log(2), rel=1e-4)
