"""Patches told apart."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ranks import run_ranks
from torch.nn import functional

from maetool.errors import UsageError
from maetool.heads import ContrastiveHead, SupervisedContrastiveHead
from maetool.structures import MaskPlan
from maetool.structures.over_processes import averaged_over_processes


def case(batch=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    plan = MaskPlan.from_scores(torch.rand(batch, 16, generator=generator), 4, (4, 4))
    return torch.randn(batch, 12, 8, generator=generator), torch.randn(batch, 12, 8, generator=generator), plan


@pytest.mark.parametrize("within", ["image", "batch"])
def test_the_loss_is_that_of_a_softmax_over_cosines(within):
    pred, target, plan = case()
    a, b = functional.normalize(pred, dim=-1), functional.normalize(target, dim=-1)
    if within == "image":
        expected = [functional.cross_entropy(a[i] @ b[i].T / 0.5, torch.arange(12)) for i in range(4)]
    else:
        expected = [functional.cross_entropy(a.flatten(0, 1) @ b.flatten(0, 1).T / 0.5, torch.arange(48))]
    losses = ContrastiveHead(8, temperature=0.5, within=within)(pred, target, plan)
    torch.testing.assert_close(losses["loss"], torch.stack(expected).mean())
    assert ContrastiveHead(8, within=within)(target, target, plan)["patch_accuracy"] == 1


@pytest.mark.parametrize("within", ["image", "batch"])
def test_padding_is_no_patch_to_be_told_from(within):
    pred, target, plan = case()
    plan = MaskPlan.from_scores(torch.rand(4, 16), torch.tensor([4, 8, 10, 5]), (4, 4))
    head = ContrastiveHead(8, within=within)
    other = torch.where(plan.weight[..., None] > 0, target, torch.full_like(target, 9.0))
    torch.testing.assert_close(head(pred, target, plan)["loss"], head(pred, other, plan)["loss"])


def test_projections_learn_on_both_sides():
    pred, target, plan = case()
    head = ContrastiveHead(8, projection=5)
    head(pred, target, plan)["loss"].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters() if parameter.ndim == 2)
    with pytest.raises(UsageError, match="within is 'world'"):
        ContrastiveHead(8, within="world")


def ragged(part):
    """The loss and the gradients of samples that differ in how much is predicted, by their places."""
    generator = torch.Generator().manual_seed(0)
    scores, keep = torch.rand(4, 16, generator=generator), torch.tensor([4, 8, 10, 12])
    pred, target = (torch.randn(4, 16, 8, generator=generator)[part] for _ in range(2))
    plan = MaskPlan.from_scores(scores[part], keep[part], (4, 4))
    head = ContrastiveHead(8, within="batch", memory=64)
    with averaged_over_processes():
        loss = head(plan.take_predicted(pred.requires_grad_()), plan.take_predicted(target), plan)["loss"]
    loss.backward()
    return loss.detach(), pred.grad


def _rank(rank, folder):
    torch.manual_seed(0)
    torch.save(ragged(slice(2 * rank, 2 * rank + 2)), Path(folder, f"ragged_{rank}"))
    pred, target, _ = case()
    part = slice(2 * rank, 2 * rank + 2)
    pred = pred[part].requires_grad_()
    own = MaskPlan.from_scores(torch.rand(2, 16), 4, (4, 4))
    loss = ContrastiveHead(8, within="batch")(pred, target[part], own)["loss"]
    loss.backward()
    torch.save((loss.detach(), pred.grad), Path(folder, str(rank)))


def test_patches_of_all_processes_are_compared(tmp_path):
    run_ranks(_rank, str(tmp_path))
    losses, gradients = zip(*(torch.load(tmp_path / str(rank)) for rank in range(2)), strict=True)
    pred, target, plan = case()
    pred.requires_grad_()
    loss = ContrastiveHead(8, within="batch")(pred, target, plan)["loss"]
    loss.backward()
    torch.testing.assert_close(torch.stack(losses).mean(), loss.detach())
    torch.testing.assert_close(torch.cat(gradients) / 2, pred.grad)  # each process takes the mean over its own half
    torch.manual_seed(0)
    whole = ragged(slice(None))
    losses, gradients = zip(*(torch.load(tmp_path / f"ragged_{rank}") for rank in range(2)), strict=True)
    torch.testing.assert_close(torch.stack(losses).mean(), whole[0])
    torch.testing.assert_close(torch.cat(gradients) / 2, whole[1])


@pytest.mark.parametrize("images", [None, 2])
def test_labels_that_are_equal_attract(images):
    generator = torch.Generator().manual_seed(0)
    pred, labels = torch.randn(3, 4, 5, generator=generator), torch.randint(3, (3, 4), generator=generator)
    weight = torch.ones(3, 4)
    weight[1, 2:] = 0
    plan = replace(MaskPlan.from_scores(torch.rand(3, 16), 12, (4, 4)), weight=weight)
    unit = functional.normalize(pred, dim=-1).flatten(0, 1)
    group = torch.arange(12) // (4 * images) if images else torch.zeros(12)
    expected = []
    for i in range(12):
        others = [j for j in range(12) if j != i and group[j] == group[i] and weight.flatten()[j] > 0]
        logs = torch.stack([unit[i] @ unit[j] / 0.25 for j in others]).log_softmax(dim=0)
        same = [n for n, j in enumerate(others) if labels.flatten()[j] == labels.flatten()[i]]
        expected.append(-logs[same].mean() if same else torch.tensor(0.0))
    head = SupervisedContrastiveHead(0.25, images)
    torch.testing.assert_close(head.errors(pred, labels, plan), torch.stack(expected).view(3, 4))
    own = torch.arange(3)[:, None].expand(3, 4)
    alike = head(torch.ones(3, 4, 5), own, plan)
    torch.testing.assert_close(alike["loss"], alike["constant_predictor"])
    apart = head(functional.one_hot(own, 5).float(), own, plan)
    assert apart["loss"] < alike["loss"]


def test_a_memory_keeps_the_latest_targets_of_training():
    pred, target, plan = case()
    head = ContrastiveHead(8, within="batch", memory=60)
    start = head.bank.clone()
    queries, keys = functional.normalize(pred, dim=-1).flatten(0, 1), functional.normalize(target, dim=-1).flatten(0, 1)
    expected = functional.cross_entropy(queries @ torch.cat([keys, start]).T / 0.2, torch.arange(48))
    torch.testing.assert_close(head.eval()(pred, target, plan)["loss"], expected)
    assert head.bank.equal(start)
    head.train()(pred.requires_grad_(), target, plan)["loss"].backward()
    torch.testing.assert_close(head.bank, torch.cat([keys, start])[:60])
    head(pred, target * torch.nan, plan)
    assert head.bank.isfinite().all() and "bank" in head.state_dict()
    with pytest.raises(UsageError, match='for a memory "batch"'):
        ContrastiveHead(8, memory=4)
