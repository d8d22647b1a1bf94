"""Weights are copied to the autocast dtype once a step, not once an iteration, and never when they are old."""

from contextlib import nullcontext

import pytest
import torch
from runs import StopAt, make_runner
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from maetool.engine.optim.casts import CastWeights, drop_casts, keeping_casts
from maetool.engine.optim.wrapper import AutocastOptimWrapper
from maetool.parallel.blocks import checkpoint_blocks

COUNTS, STEPS = 3, 4


class Casts(TorchDispatchMode):
    """Counts copies of 8 x 8 weights to bfloat16."""

    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        to = (kwargs or {}).get("dtype")
        if func is torch.ops.aten._to_copy.default and to is torch.bfloat16 and args[0].shape == (8, 8):
            self.number += 1
        return func(*args, **(kwargs or {}))


def nesting():
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()


class Model(nn.Module):
    """Two maps that autocast casts."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.maps = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

    def forward(self, x):
        for layer in self.maps:
            x = layer(x)
        return x.float().square().mean()


def train(model, keeping, between=lambda model, iteration: None, counts=COUNTS):
    wrapper = AutocastOptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.1), "bfloat16", counts)
    wrapper.initialize_count_status(model, 0, counts * STEPS)
    if keeping:
        context = keeping_casts(wrapper)
        context.__enter__()
    losses, generator = [], torch.Generator().manual_seed(1)
    with Casts() as casts:
        for iteration in range(counts * STEPS):
            with wrapper.optim_context(model):
                loss = model(torch.randn(5, 8, generator=generator))
            wrapper.update_params(loss)
            losses.append(loss.item())
            between(model, iteration)
    if keeping:
        context.__exit__(None, None, None)
    assert nesting() == 0
    return losses, list(model.parameters()), casts.number


def same(one, other):
    assert one[0] == other[0]
    assert all(torch.equal(*pair) for pair in zip(one[1], other[1], strict=True))


def test_a_step_casts_once():
    plain, kept = train(Model(), False), train(Model(), True)
    same(plain, kept)
    assert plain[2] == 2 * COUNTS * STEPS and kept[2] == 2 * STEPS
    alone = train(Model(), True, counts=1)
    assert alone[2] == 2 * STEPS


def test_recomputed_activations_are_the_same():
    plain, kept = Model(), Model()
    for model in (plain, kept):
        checkpoint_blocks(model, ["maps.0", "maps.1"])
    same(train(plain, False), train(kept, True))


def test_weights_that_change_between_are_cast_again():
    def clamp(model, iteration):
        if iteration % 2:
            with torch.no_grad():
                model.maps[0].weight.clamp_(-0.2, 0.2)

    same(train(Model(), False, clamp), train(Model(), True, clamp))


def test_what_is_dropped_is_cast_again():
    wrapper = AutocastOptimWrapper(torch.optim.SGD(Model().parameters(), lr=0.1), "bfloat16", COUNTS)
    with keeping_casts(wrapper):
        wrapper.casts.keep(Model())
        assert nesting() == 1
        drop_casts(wrapper)
        assert nesting() == 0
    assert wrapper.casts is None
    CastWeights().drop()
    assert nesting() == 0


@pytest.mark.parametrize("stop", [0, 3])
def test_a_run_ends_without_casts(repository, tmp_path, monkeypatch, stop):
    options = ["effective_batch_size=8", "optim_wrapper.dtype=bfloat16", "val_dataloader=None"]
    runner = make_runner(repository, tmp_path, options=options)
    seen, keep = [], CastWeights.keep
    monkeypatch.setattr(CastWeights, "keep", lambda self, model: (seen.append(1), keep(self, model)))
    if stop:
        runner.register_hook(StopAt(stop), "LOWEST")
    with pytest.raises(KeyboardInterrupt) if stop else nullcontext():
        runner.train()
    assert seen and nesting() == 0
