"""The loss scale of float16: as PyTorch's own, without reading whether gradients overflowed, and saved with a run."""

import math

import pytest
import torch
from test_deferred import OVERFLOWS, train, wrapper_of
from torch import nn


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_scale_and_steps_are_those_of_PyTorch(deferred, clip):
    wrapper, weight = wrapper_of(deferred, scale=2.0**16, clip=clip)
    scaler = torch.amp.GradScaler("cpu", growth_interval=2)
    other = nn.Parameter(weight.detach().clone())
    optimizer = torch.optim.AdamW([other], lr=0.1, fused=True)
    scales = []
    for factor in (OVERFLOWS, 1.0, 2.0, 0.5, OVERFLOWS, math.inf, 1.0, 1.0):
        train(wrapper, weight, [factor])
        scaler.scale((other * torch.tensor([3.0, 4.0]) * factor).sum()).backward()
        scaler.unscale_(optimizer)
        if clip:
            nn.utils.clip_grad_norm_([other], clip)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        assert wrapper.loss_scaler.state_dict() == scaler.state_dict()
        torch.testing.assert_close(weight, other, rtol=1e-6, atol=0)
        scales.append(scaler.get_scale())
    assert [scale / 2**16 for scale in scales] == [0.5, 0.5, 1, 1, 0.5, 0.25, 0.25, 0.5]


def test_an_overflow_counts_only_while_the_scale_cannot_fall():
    wrapper, weight = wrapper_of(True, scale=4.0)
    reports = train(wrapper, weight, [OVERFLOWS] * 4)
    assert [report[0] for report in reports] == [None, None, None, "the gradient norm is inf"]
    assert [report[2] for report in reports] == [0, 0, 0, 1] and wrapper.loss_scaler.get_scale() == 0.25


@pytest.mark.parametrize("scales", [(16.0, None), (None, 16.0), (16.0, 2.0)])
def test_gathered_gradients_go_on_in_another_precision(scales):
    """They are saved as they are, scaled or not."""
    ends = []
    for scale in (scales[0], scales[1]):
        plain = {"kind": torch.optim.SGD, "clip": None}
        first, weight = wrapper_of(False, 2, scale=scales[0], **plain)
        second, other = wrapper_of(False, 2, scale=scale, **plain)
        train(first, weight, [1.0])
        second.load_state_dict(first.state_dict())
        second.initialize_count_status(nn.Identity(), 1, 12)
        train(second, other, [2.0])
        ends.append(other)
    assert torch.equal(*ends) and not torch.equal(ends[0], weight)


def test_momentum_begins_with_the_first_step_that_is_made(monkeypatch):
    """PyTorch's kernel leaves new buffers as they are in the memory if it leaves out the first step."""
    monkeypatch.setattr(torch, "empty_like", lambda x, **_: torch.full_like(x, math.nan))
    wrapper, weight = wrapper_of(True, kind=torch.optim.SGD)
    train(wrapper, weight, [math.inf, 1.0])
    torch.testing.assert_close(weight.detach(), torch.tensor([1.0 - 0.06, -2.0 - 0.08]))
    assert wrapper.skipped == 1
