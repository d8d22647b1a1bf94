"""What a masker must keep; see `maetool.testing.contracts`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.random import sample_keys
from maetool.structures import Layout, MaskPlan

from .contracts import GRIDS, _check_form, _plan, _require


def check_masker(masker: nn.Module, grids: Sequence[Any] = GRIDS, batch_size: int = 64) -> None:
    """A masker partitions the patches, keeps exact counts, honours a given mask, and repeats itself for equal keys.

    Args:
        masker: the part.
        grids: grids that it supports, of any number of axes, or layouts of several streams.
        batch_size: samples drawn on each.
    """
    for grid in grids:
        layout, batch = Layout.of(grid), torch.arange(batch_size)
        images, keys, clues = (
            torch.zeros(batch_size, 3, 1, 1),
            sample_keys(0, 0, batch),
            _clues(masker, layout, batch_size),
        )
        with torch.no_grad():
            plan = masker(images, layout, keys=keys, clues=clues).validate()
            again = masker(images, layout, keys=keys, clues=clues)
            few = {name: value[3:5] for name, value in clues.items()}
            part = masker(images[3:5], layout, keys=keys[3:5], clues=few)
            # What a teacher or an encoder says has changed by the next epoch too.
            other_clues = _clues(masker, layout, batch_size, seed=1)
            other = masker(images, layout, keys=sample_keys(0, 1, batch), clues=other_clues)
        _require(plan.layout.matches(layout), "the plan has the grid that was asked for")
        if plan.blank is None and plan.keep_valid is None and len(layout.grids) == 1:
            _require(plan.num_keep == masker.num_keep(layout.grid), "every sample keeps num_keep patches")
        _require(torch.equal(plan.ids_keep, again.ids_keep), "equal keys give equal plans")
        if not getattr(masker, "of_batch", False):
            _require(torch.equal(plan.mask[3:5], part.mask), "a sample's mask does not depend on its batch")
            _require(torch.equal(_asked(plan)[3:5], _asked(part)), "what is predicted does not depend on the batch")
        if plan.mask.any():
            _require(not torch.equal(plan.mask, other.mask), "another epoch gives other masks")
        given = _plan(layout, batch_size).mask
        _require(torch.equal(masker(images, layout, given=given, clues=clues).mask, given), "a given mask wins")
    _check_padding(masker, Layout.of(grids[0]))
    if callable(getattr(masker, "loss", None)):
        _check_masker_loss(masker, grids[0], batch_size)
    _check_form(masker)


def _check_padding(masker: nn.Module, layout: Layout) -> None:
    """Check that padding is neither visible nor predicted, or that samples that differ in length are refused."""
    if (takes := getattr(masker, "takes_padding", None)) is None:
        return
    valid = torch.arange(layout.length) < torch.arange(1, layout.length + 1)[:, None]  # samples of every length
    batch_size, padded = len(valid), Layout(layout.grids, valid=valid)
    images, keys = torch.zeros(batch_size, 3, 1, 1), sample_keys(0, 0, torch.arange(batch_size))
    try:
        with torch.no_grad():
            plan = masker(images, padded, keys=keys, clues=_clues(masker, padded, batch_size)).validate()
    except UsageError:
        _require(not takes, "samples that differ in length are masked if takes_padding is True")
        return
    _require(takes, "samples that differ in length are refused if takes_padding is False")
    _require(bool((plan.mask | valid).all()), "padding is not visible")
    _require(bool((_asked(plan) <= valid).all()), "padding is not predicted")


def _clues(masker: nn.Module, layout: Layout, batch_size: int, seed: int = 0) -> dict[str, Tensor]:
    """Return random clues of what a masker needs, for one head and one prefix token."""
    generator, length = torch.Generator().manual_seed(seed), layout.length
    width = getattr(masker, "encoder_dim", 8)
    shapes = {"tokens": (length, width), "attention": (1, length + 1, length + 1)}
    names = [name for name in getattr(masker, "needs", ()) if name != "images"]
    drawn = {n: torch.randn(batch_size, *shapes.get(n, (length,)), generator=generator) for n in names}
    return {name: value.softmax(dim=-1) if name == "attention" else value for name, value in drawn.items()}


def _asked(plan: MaskPlan) -> Tensor:
    """Return how often each patch is predicted, (B, L)."""
    once = torch.ones_like(plan.ids_predict, dtype=torch.float32) if plan.weight is None else (plan.weight > 0).float()
    return torch.zeros(plan.mask.shape).scatter_add(1, plan.ids_predict, once)


def _check_masker_loss(masker: nn.Module, grid: Any, batch_size: int) -> None:
    layout = Layout.of(grid)
    clues = {name: value.requires_grad_() for name, value in _clues(masker, layout, batch_size).items()}
    plan = masker(torch.zeros(batch_size, 3, 1, 1), layout, clues=clues)
    loss = masker.loss(plan, torch.rand(plan.ids_predict.shape))
    _require(loss.ndim == 0 and loss.isfinite(), "the loss of a masker is one finite number")
    loss.backward()
    idle = [name for name, p in masker.named_parameters() if p.requires_grad and p.grad is None]
    _require(not idle, f"every parameter has a gradient ({', '.join(idle)} have none)")
