"""What targets, teachers and corruptions must keep; see `maetool.testing.contracts`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from maetool.ops.random import KeyedRandom, sample_keys
from maetool.structures import Layout, MaskPlan, part_of_plan, tensors_of

from .contracts import _check_form, _plan, _require


def check_target(target: nn.Module, images: Tensor, grid: tuple[int, int]) -> None:
    """A target has its width, no gradient, float32 or tokens, is of each sample alone, and inverts itself if it can.

    Args:
        target: to check.
        images: (B, C, *size), normalised, or what the target takes in their place.
        grid: patches along each axis.
    """
    plan = _plan(grid, len(images)).predicting(getattr(target, "predicts", "planned"))
    images = images.clone().requires_grad_(images.is_floating_point())  # ids are not
    clues = _target_clues(target, plan)
    values = target(images, plan, **clues)
    number = (len(images), plan.ids_predict.shape[1])
    if getattr(target, "gives_tokens", False):
        _require(values.shape == number and values.dtype is torch.int64, "tokens are int64 (B, M)")
        _require(((values >= 0) & (values < target.out_dim)).all(), "tokens are below out_dim")
    else:
        _require(values.shape == (*number, target.out_dim), "the target is (B, M, P)")
        _require(values.dtype is torch.float32, "the target is float32")
    _require(not values.requires_grad, "the target has no gradient")
    few = target(images[1:], part_of_plan(plan, slice(1, None)), **_rows(clues))
    close = torch.allclose(values[1:].double(), few.double(), atol=1e-4)
    _require(close or getattr(target, "of_batch", False), "the target of a sample does not depend on its batch")
    if callable(getattr(target, "learn", None)):
        _check_learning(target, values, target.learn(images, plan, **clues))
    flat = target(torch.full_like(images, 0.5), plan, **clues)  # of ids, all 0
    _require(flat.isfinite().all(), "the target of constant patches is finite")
    with torch.autocast("cpu", torch.bfloat16):
        again = target(images, plan, **clues)
    rounding = 0.1 * values.float().abs().mean() if getattr(target, "rounds_with_autocast", False) else 0.0
    _require(
        (values - again).float().abs().mean() <= rounding, "autocast changes a target by its teacher's rounding only"
    )
    if target.invertible:
        pixels = target.invert(values, images, plan)
        exact = target.invert(target(images, plan), images, plan)
        _require(torch.allclose(pixels, exact), "invert is deterministic")
        _require(_round_trip(target, pixels, images, plan), "invert(target(x)) gives the pixels of picture(x)")
    _check_form(target)


def _check_learning(target: nn.Module, values: Tensor, learned: tuple[Tensor, Tensor]) -> None:
    value, loss = learned
    _require(torch.equal(value, values) and not value.requires_grad, "learn gives the same target, without gradient")
    _require(loss.ndim == 0 and loss.dtype is torch.float32, "a target that learns has one number to learn from")
    loss.backward()
    idle = [name for name, p in target.named_parameters() if p.requires_grad and p.grad is None]
    _require(not idle, f"every parameter has a gradient ({', '.join(idle)} have none)")
    target.zero_grad()


def _target_clues(target: nn.Module, plan: MaskPlan) -> dict[str, Any]:
    """Return random clues of what a target needs."""
    generator, batch = torch.Generator().manual_seed(0), len(plan.mask)
    prefix = getattr(target, "num_prefix_tokens", 0)
    width = getattr(target, "features_dim", getattr(target, "width", target.out_dim))  # of one layer
    number = 1 if hasattr(target, "features_dim") else target.out_dim // width
    shape = (batch, prefix + plan.layout.length, width)
    features = [torch.randn(shape, generator=generator) for _ in range(number if number > 1 else 2)]
    available = {"features": features, "errors": torch.rand(plan.ids_predict.shape, generator=generator)}
    return {name: available[name] for name in getattr(target, "needs", ()) if name in available}


def _rows(value: Any) -> Any:
    """Return clues without the first sample."""
    if isinstance(value, dict):
        return {name: _rows(each) for name, each in value.items()}
    return [_rows(each) for each in value] if isinstance(value, list) else value[1:]


def _round_trip(target: nn.Module, pixels: Tensor, images: Tensor, plan: MaskPlan) -> bool:
    from maetool.ops.patches import patchify

    return torch.allclose(pixels, plan.take_predicted(patchify(target.picture(images), target.patch_size)), atol=1e-4)


def check_teacher(teacher: nn.Module, batch: Any, layout: Layout, model: nn.Module | None = None) -> None:
    """A teacher gives what it names, without gradient, the same twice, and follows the model without a gradient.

    Args:
        teacher: the part, attached to its model if it copies parts of one.
        batch: images (B, C, *size), or a mapping from streams to tensors.
        layout: of its patches.
        model: whose parts it follows, if it does.
    """
    teacher.train()
    together = teacher(batch, layout, teacher.gives)
    for name in teacher.gives:
        value, again = together[name], teacher(batch, layout, [name])[name]
        pairs = list(zip(value, again, strict=True)) if isinstance(value, list) else [(value, again)]
        for one, other in pairs:
            _require(not one.requires_grad, f"{name} has no gradient")
            _require(len(one) == len(tensors_of(batch)[0]), f"{name} has a row for each sample")
            _require(torch.allclose(one, other, atol=1e-5), f"{name} is the same alone and with others")
        _require(_of_each(teacher, batch, layout, name, value), f"{name} of a sample does not depend on its batch")
    _require(not any(p.requires_grad for p in teacher.parameters()), "a teacher learns nothing by gradients")
    _require(not any(m.training for m in teacher.modules()), "a teacher stays in evaluation mode")
    if model is not None and hasattr(teacher, "after_step"):
        teacher.start(model)
        teacher.after_step(model, 0.5)
        _require(not any(p.requires_grad for p in teacher.parameters()), "what follows has no gradient")
    _check_form(teacher)


def _of_each(teacher: nn.Module, batch: Any, layout: Layout, name: str, value: Any) -> bool:
    """Whether the rows of the second sample on are what the teacher gives without the first one."""
    few = _rows(dict(batch)) if isinstance(batch, Mapping) else batch[1:]
    alone = teacher(few, layout.mapped(lambda own: own[1:]), [name])[name]
    pairs = zip(value, alone, strict=True) if isinstance(value, list) else [(value, alone)]
    return all(torch.allclose(one[1:], other, atol=1e-5) for one, other in pairs)


def check_corruption(corruption: nn.Module, images: Tensor, grid: Any) -> None:
    """A corruption changes a copy of the images, by the random numbers of each sample and nothing else.

    Args:
        corruption: to check.
        images: (B, C, *size), normalised.
        grid: patches along each axis.
    """
    keys, plan = sample_keys(0, 0, torch.arange(len(images))), _plan(grid, len(images))
    visible = plan.ids_keep[:, :1]  # one visible patch is predicted too, for those that change only such
    plan = replace(plan, ids_predict=torch.cat([plan.ids_predict, visible], dim=1).sort(dim=1).values)
    before = images.clone()
    changed = corruption(images, plan, KeyedRandom(keys))
    _require(torch.equal(images, before), "the images themselves stay as they are")
    _require(changed.shape == images.shape and changed.dtype == images.dtype, "shape and type stay")
    _require(not torch.equal(changed, images), "something changes")
    few = corruption(images[1:], part_of_plan(plan, slice(1, None)), KeyedRandom(keys[1:]))
    _require(torch.allclose(changed[1:], few, atol=1e-5), "a sample does not depend on its batch")
    _check_form(corruption)
