"""Soft labels of a teacher's logits: temperatures, centre, prototypes, mean entropy."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ranks import run_ranks
from torch.nn import functional

from maetool.errors import UsageError
from maetool.heads import (
    ClassificationHead,
    DistillationHead,
    RankingHead,
    RegressionHead,
    SimilarityHead,
    SoftLabelHead,
)
from maetool.structures import MaskPlan
from maetool.structures.over_processes import averaged_over_processes


def case(batch=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    plan = MaskPlan.from_scores(torch.rand(batch, 16, generator=generator), 4, (4, 4))
    return torch.randn(batch, 12, 8, generator=generator), torch.randn(batch, 12, 8, generator=generator), plan


def test_the_target_is_sharper_than_the_prediction():
    pred, target, plan = case()
    expected = -((target / 0.04).softmax(-1) * (pred / 0.1).log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(DistillationHead(8)(pred, target, plan)["loss"], expected)


def test_the_centre_follows_the_targets_in_training_alone():
    pred, target, plan = case()
    head = DistillationHead(8, centre=0.9)
    head.eval()(pred, target, plan)
    assert head.target_centre.eq(0).all()
    head.train()(pred, target, plan)
    torch.testing.assert_close(head.target_centre, 0.1 * target.mean(dim=(0, 1)))
    expected = -(((target - head.target_centre) / 0.04).softmax(-1) * (pred / 0.1).log_softmax(-1)).sum(-1)
    torch.testing.assert_close(head.errors(pred, target, plan), expected)
    before = head.target_centre.clone()
    head(pred, target * torch.nan, plan)
    assert head.target_centre.equal(before)  # the step is left out, and the centre would stay broken for good


def test_padding_does_not_move_the_centre():
    pred, target, _ = case()
    plan = MaskPlan.from_scores(torch.rand(4, 16), torch.tensor([4, 8, 10, 5]), (4, 4))
    head = DistillationHead(8, centre=0.5)
    head(pred, target.masked_fill(plan.weight[..., None] == 0, 1e4), plan)
    torch.testing.assert_close(head.target_centre, 0.5 * target[plan.weight > 0].mean(dim=0))


def test_the_temperature_of_the_target_warms_up():
    head = DistillationHead(8, target_temperature=0.07, start_temperature=0.04, warmup=0.5)
    seen = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        head.after_step(torch.nn.Module(), progress)
        seen.append(round(head.target_temperature.item(), 4))
    assert seen == [0.04, 0.055, 0.07, 0.07] and "target_temperature" in head.state_dict()


def test_one_class_for_all_images_costs_the_logarithm_of_their_number():
    _, target, plan = case()
    head = DistillationHead(8, mean_entropy=2.0)
    one = functional.one_hot(torch.zeros(4, 12, dtype=torch.int64), 8).float() * 9
    losses = head(one, target, plan)
    torch.testing.assert_close(losses["mean_entropy"], torch.tensor(math.log(8)), atol=1e-4, rtol=0)
    plain = DistillationHead(8)(one, target, plan)["loss"]
    torch.testing.assert_close(losses["loss"], plain + 2 * losses["mean_entropy"])


def test_prototypes_are_not_decayed_and_learn_by_the_prediction_alone():
    pred, target, plan = case()
    head = DistillationHead(8, prototypes=5)
    target.requires_grad_()
    head(pred, target, plan)["loss"].backward()
    assert target.grad is None and head.prototypes.weight.grad.abs().sum() > 0
    assert head.no_weight_decay() == {"prototypes.weight"} and DistillationHead(8).no_weight_decay() == set()


@pytest.mark.parametrize("sizes", [{"out_dim": 1}, {"out_dim": 8, "prototypes": 1}])
def test_one_class_is_refused(sizes):
    with pytest.raises(UsageError, match="shares of 1 class"):
        DistillationHead(**sizes)


def test_shares_out_of_range_are_refused():
    with pytest.raises(UsageError, match=r"centre 1\.0"):
        DistillationHead(8, centre=1.0)


def shared(part):
    """What heads make of a part of a batch: the centre of the one that has it, and the gradients of all."""
    pred, target, plan = case()
    weight = torch.rand(4, 16, generator=torch.Generator().manual_seed(1)).mul(3).floor()  # 0, 1 or 2
    weighted = MaskPlan.from_scores(torch.arange(16.0).expand(4, -1), 4, (4, 4), weight=weight)
    options = {"centre": 0.9, "sinkhorn": 3, "mean_entropy": 1.0}
    heads = [DistillationHead(8, **options), DistillationHead(8, **options), RankingHead(), SimilarityHead(0.5)]
    results = []
    for head, own in zip(heads, (plan, weighted, weighted, plan), strict=True):
        own, ours = own.mapped(lambda x: x[part]), pred[part].clone().requires_grad_()
        with averaged_over_processes():
            head(ours, target[part], own)["loss"].backward()
        results.append((getattr(head, "target_centre", torch.zeros(8)), ours.grad))
    return results


def _rank(rank, folder):
    torch.save(shared(slice(2 * rank, 2 * rank + 2)), Path(folder, str(rank)))


def test_all_processes_share_centre_balance_and_mean(tmp_path):
    run_ranks(_rank, str(tmp_path))
    for whole, *parts in zip(
        shared(slice(None)), *(torch.load(tmp_path / str(rank)) for rank in range(2)), strict=True
    ):
        centres, gradients = zip(*parts, strict=True)
        torch.testing.assert_close(centres, (whole[0],) * 2)
        torch.testing.assert_close(torch.cat(gradients) / 2, whole[1])  # each process takes the mean over its own half


def test_padding_takes_no_share_of_the_classes():
    pred, target, _ = case()
    plan = MaskPlan.from_scores(torch.rand(4, 16), torch.tensor([4, 8, 10, 5]), (4, 4))
    head = DistillationHead(8, sinkhorn=3)
    other = target.masked_fill(plan.weight[..., None] == 0, 1e4)
    torch.testing.assert_close(head(pred, other, plan)["loss"], head(pred, target, plan)["loss"])


@pytest.mark.parametrize("head", [RegressionHead(), SoftLabelHead(), ClassificationHead()])
def test_the_constant_predictor_is_that_of_what_counts(head):
    pred, target, plan = case()
    target = target.argmax(dim=-1) if head.takes_tokens else target.softmax(dim=-1)
    weight = torch.tensor([1.0, 0.0, 2.0]).repeat(4, 4)
    once = [index for index, times in enumerate([1, 0, 2] * 4) for _ in range(times)]
    expected = head(pred[:, once], target[:, once], MaskPlan.from_scores(torch.rand(4, 16), 4, (4, 4)))
    weighted = head(pred, target, replace(plan, weight=weight))
    torch.testing.assert_close(weighted["constant_predictor"], expected["constant_predictor"])
