"""Shares of classes as target, and prototypes."""

import pytest
import torch
from torch.nn import functional

from maetool.errors import UsageError
from maetool.heads import SoftLabelHead
from maetool.layers import Prototypes
from maetool.structures import MaskPlan


def test_the_loss_is_the_cross_entropy_with_shares():
    plan = MaskPlan.from_scores(torch.rand(3, 12), 4, (3, 4), weight=torch.rand(3, 12))
    pred, target = torch.randn(3, 8, 5), torch.randn(3, 8, 5).softmax(dim=-1)
    losses = SoftLabelHead(temperature=0.3)(pred, target, plan)
    each = functional.cross_entropy(pred.flatten(0, 1) / 0.3, target.flatten(0, 1), reduction="none").view(3, 8)
    torch.testing.assert_close(losses["loss"], plan.average(each))
    perfect = SoftLabelHead(temperature=0.3)(0.3 * target.log(), target, plan)
    torch.testing.assert_close(perfect["loss"], losses["target_entropy"])
    certain = functional.one_hot(torch.randint(5, (3, 8)), 5)
    assert SoftLabelHead()(pred, certain, plan)["target_entropy"] == 0
    same = target[:1, :1].expand(3, 8, 5)
    torch.testing.assert_close(
        *(SoftLabelHead()(pred, same, plan)[k] for k in ("constant_predictor", "target_entropy"))
    )


def test_prototypes_of_each_kind():
    x = torch.randn(2, 3, 6)
    cosines = Prototypes(6, 4)
    expected = functional.cosine_similarity(x[..., None, :], cosines.weight, dim=-1)
    torch.testing.assert_close(cosines(x), expected)
    torch.testing.assert_close(cosines(7 * x), expected)
    learned = Prototypes(6, 4, "learned")
    with torch.no_grad():
        learned.weight.copy_(3 * cosines.weight)
        learned.length.copy_(torch.arange(4.0)[:, None])
    torch.testing.assert_close(learned(x), expected * torch.arange(4.0))
    free = Prototypes(6, 4, "free")
    torch.testing.assert_close(free(x), functional.linear(functional.normalize(x, dim=-1), free.weight))
    assert set(dict(free.named_parameters())) == {"weight", "bias"}
    with pytest.raises(UsageError, match='lengths is \'any\', but must be "unit", "learned" or "free"'):
        Prototypes(6, 4, "any")
