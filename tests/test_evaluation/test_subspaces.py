"""Probes on the principal subspace of features and on the rest of them."""

import pytest
import torch

from maetool.data import ShapesDataset
from maetool.errors import UsageError
from maetool.evaluation import SubspaceProbeEvaluator, principal_subspaces
from maetool.testing import check_evaluator, tiny_model


def features(number, seed, loud=10.0):
    """Return features of two classes, (N, 6): noise loudly along 3 directions, the class quietly along one."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (number,), generator=generator)
    values = torch.randn(number, 6, generator=generator) * torch.tensor([loud, loud, loud, 0.3, 0.3, 0.3])
    values[:, 4] += labels
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(9))).Q
    return values @ turn, labels


@pytest.mark.parametrize("number", [4, 500])  # fewer and more than the width
def test_the_principal_subspace_explains_the_share_and_the_rest_is_orthogonal(number):
    values, _ = features(number, 0)
    top, rest = principal_subspaces(values, 0.9)
    both = torch.cat([top, rest], dim=1)
    assert both.shape[1] == min(6, number - 1), "directions without variance are left out"
    torch.testing.assert_close(both.T @ both, torch.eye(both.shape[1]), atol=1e-5, rtol=0)
    centred = values - values.mean(dim=0)
    variance = (centred @ both).square().sum(dim=0)
    assert torch.equal(variance.argsort(descending=True), torch.arange(both.shape[1]))
    explained = variance.cumsum(dim=0) / centred.square().sum()
    assert explained[top.shape[1] - 1] >= 0.9 > (explained[top.shape[1] - 2] if top.shape[1] > 1 else 0)


def test_quiet_directions_tell_the_classes_that_loud_ones_do_not():
    evaluator = SubspaceProbeEvaluator()
    (bank, known), (query, truth) = features(400, 1), features(400, 2)
    top, rest = principal_subspaces(bank, 0.9)
    assert top.shape[1] == 3
    assert evaluator.accuracy(bank @ top, known, query @ top, truth) < 60
    assert evaluator.accuracy(bank @ rest, known, query @ rest, truth) > 90


@pytest.mark.parametrize("varying", [0, 1])
def test_features_that_do_not_vary_are_measured_too(varying):
    values = torch.ones(10, 4)
    values[:, :varying] = torch.arange(10.0)[:, None]
    top, rest = principal_subspaces(values, 0.9)
    assert top.shape == rest.shape == (4, 1)
    labels = torch.tensor([0] * 7 + [1] * 3)
    assert SubspaceProbeEvaluator().accuracy(values @ rest, labels, values @ rest, labels) == pytest.approx(70)


def test_pixels_are_measured_once():
    evaluator = SubspaceProbeEvaluator(share=0.5, pixels=True)
    model = tiny_model(encoder={"img_size": 32, "patch_size": 8})
    metrics = check_evaluator(evaluator, model, ShapesDataset(16, 32), ShapesDataset(24, 32, seed=1))
    assert set(metrics) == set(SubspaceProbeEvaluator.metric_names)
    assert 1 <= metrics["top_directions"] < 23


@pytest.mark.parametrize("share", [0, 1, 90])
def test_a_share_is_checked(share):
    with pytest.raises(UsageError, match="between 0 and 1"):
        SubspaceProbeEvaluator(share)
