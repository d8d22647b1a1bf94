"""Processes with different numbers of patches train on the mean over all patches, not on a mean of means."""

import pytest
import torch

from maetool.engine.optim.wrapper import AutocastOptimWrapper
from maetool.parallel.groups import ddp_options
from maetool.structures import MaskPlan
from maetool.structures.over_processes import averaged_over_processes, may_lack, total_of


def plan_of(weight):
    grid = (2, len(weight[0]))
    scores = torch.cat([torch.zeros_like(weight), torch.ones_like(weight)], dim=1)
    every = torch.cat([weight, weight], dim=1)
    return MaskPlan.from_scores(scores, grid[1], grid, weight=every)


def test_gradients_are_those_of_the_mean_over_all_patches(monkeypatch):
    weights = torch.tensor([[[1.0, 1.0, 1.0, 1.0]], [[1.0, 0.0, 0.0, 0.0]]])  # of two processes
    errors, total = torch.rand(2, 1, 4, generator=torch.Generator().manual_seed(0)), weights.sum()
    expected = (errors * weights).sum() / total
    local = torch.stack([plan_of(w).average(e) for w, e in zip(weights, errors, strict=True)])
    assert not torch.isclose(local.mean(), expected)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda value: value.copy_(total))
    wrapper = AutocastOptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0), "float32")
    with wrapper.optim_context(torch.nn.Linear(1, 1)):
        shared = torch.stack([plan_of(w).average(e) for w, e in zip(weights, errors, strict=True)])
        assert may_lack(torch.ones(2, dtype=torch.bool), together=True)
    torch.testing.assert_close(shared.mean(), expected)  # as DDP averages
    assert plan_of(weights[1]).average(errors[1]) == local[1]  # outside of a step, as in a validation


def test_one_process_has_its_own_mean():
    with averaged_over_processes():
        assert total_of(torch.ones(3)) == 3 and not may_lack(torch.ones(2, dtype=torch.bool), together=True)


@pytest.mark.parametrize(
    ("section", "static"),
    [
        ({}, True),
        ({"optim_wrapper": {"accumulative_counts": 1}}, True),
        ({"optim_wrapper": {"accumulative_counts": 2}}, False),
        ({"optim_wrapper": {"main": {"accumulative_counts": 2}, "masker": {"accumulative_counts": 2}}}, False),
        ({"find_unused_parameters": True}, False),
        ({"optim_wrapper": None}, True),
    ],
)
def test_the_graph_is_the_same_in_all_steps_unless_gradients_are_accumulated(section, static):
    options = ddp_options(section)
    assert options["static_graph"] is static and options["gradient_as_bucket_view"]
    assert options["find_unused_parameters"] is bool(section.get("find_unused_parameters"))
