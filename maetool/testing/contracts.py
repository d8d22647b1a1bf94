"""What every part must keep, as functions that raise AssertionError with a sentence.

maetool runs them over its registries; a plugin runs them over its own parts:

    from maetool.testing import check_masker
    def test_stripes():
        check_masker(StripeMasker(mask_ratio=0.5))
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from maetool.ops.random import sample_keys
from maetool.structures import Layout, MaskPlan

GRIDS = ((4, 4), (2, 8), (14, 14), (7, 5))


def _require(holds: object, promise: str) -> None:
    if not holds:
        raise AssertionError(f"The part breaks its contract: {promise}.")


def _plan(grid: Any, batch_size: int = 3, num_keep: int | None = None) -> MaskPlan:
    generator, length = torch.Generator().manual_seed(1), Layout.of(grid).length
    scores = torch.rand(batch_size, length, generator=generator)
    return MaskPlan.from_scores(scores, num_keep or max(1, length // 4), grid)


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
            other = masker(images, layout, keys=sample_keys(0, 1, batch), clues=clues)
        _require(plan.layout.matches(layout), "the plan has the grid that was asked for")
        if plan.blank is None and plan.keep_valid is None and len(layout.grids) == 1:
            _require(plan.num_keep == masker.num_keep(layout.grid), "every sample keeps num_keep patches")
        _require(torch.equal(plan.ids_keep, again.ids_keep), "equal keys give equal plans")
        _require(torch.equal(plan.mask[3:5], part.mask), "a sample's mask does not depend on its batch")
        _require(torch.equal(_asked(plan)[3:5], _asked(part)), "what is predicted does not depend on the batch")
        _require(not torch.equal(plan.mask, other.mask), "another epoch gives other masks")
        given = _plan(layout, batch_size).mask
        _require(torch.equal(masker(images, layout, given=given, clues=clues).mask, given), "a given mask wins")
    if callable(getattr(masker, "loss", None)):
        _check_masker_loss(masker, grids[0], batch_size)
    _check_form(masker)


def _clues(masker: nn.Module, layout: Layout, batch_size: int) -> dict[str, Tensor]:
    """Return random clues of what a masker needs, for one head and one prefix token."""
    generator, length = torch.Generator().manual_seed(0), layout.length
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


def check_encoder(encoder: nn.Module) -> None:
    """An encoder states its facts, hides nothing without a plan, and never looks at removed pixels."""
    grid, batch_size = encoder.grid, 3
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, encoder.in_chans, *encoder.img_size, generator=generator)
    encoder = encoder.eval()
    prefix = encoder.num_prefix_tokens
    _require(encoder.grid_of(images) == tuple(grid), "grid_of agrees with grid")
    whole = encoder(images)
    tokens = prod(side // step for side, step in zip(encoder.img_size, encoder.stride, strict=True))
    _require(whole.shape == (batch_size, prefix + tokens, encoder.embed_dim), "no plan gives every token")
    _require(torch.equal(whole, encoder(images)), "features of whole images are deterministic")
    plan = _plan(grid)
    latent = encoder(images, plan)
    seen = tokens if encoder.sees == "all" else plan.num_keep
    _require(latent.shape == (batch_size, prefix + seen, encoder.embed_dim), "a plan gives the tokens that it sees")
    hidden = plan.mask_at(images.shape[2:])[:, None]
    changed = torch.where(hidden, torch.full_like(images, 1e3), images)
    _require(torch.equal(latent, encoder(changed, plan)), "changing removed pixels changes nothing")
    everything = MaskPlan(
        layout=Layout.of(grid),
        ids_keep=torch.arange(prod(grid)).expand(batch_size, -1),
        ids_predict=torch.arange(prod(grid)).expand(batch_size, -1),
        ids_restore=torch.arange(prod(grid)).expand(batch_size, -1),
        mask=torch.zeros(batch_size, prod(grid), dtype=torch.bool),
    )
    _require(
        torch.allclose(whole, encoder(images, everything), atol=1e-4), "a plan that keeps everything hides nothing"
    )
    _check_training(encoder)
    _check_form(encoder)


def _check_form(part: nn.Module) -> None:
    """The small form that a part's own class states, if it is a dict, is of arguments that the class has."""
    form = vars(type(part)).get("debug_arguments")
    if isinstance(form, Mapping):
        taken = inspect.signature(type(part)).parameters
        _require(set(form) <= set(taken), "debug_arguments names arguments of the class")


def _check_training(encoder: nn.Module) -> None:
    """What an encoder says about its parameters, if it does, is about parameters that it has."""
    names = {name for name, _ in encoder.named_parameters()}
    if hasattr(encoder, "no_weight_decay"):
        _require(set(encoder.no_weight_decay()) <= names, "no_weight_decay names parameters of the encoder")
    if hasattr(encoder, "layer_of"):
        layers = {encoder.layer_of(name) for name in names}
        _require(layers - {-1} == set(range(max(layers) + 1)), "layer_of gives the layers 0, 1 and so on, and -1")


def check_decoder(decoder: nn.Module, encoder_dim: int, out_dim: int, grid: tuple[int, int], prefix: int = 1) -> None:
    """A decoder predicts exactly what the plan asks for, and every parameter takes part."""
    plan = _plan(grid)
    generator = torch.Generator().manual_seed(0)
    seen = plan.num_keep if "visible" in getattr(decoder, "reads", ("visible",)) else prod(grid)
    layers = getattr(decoder, "layers", None)
    levels = [
        torch.randn(3, prefix + seen, encoder_dim, generator=generator, requires_grad=True) for _ in layers or [None]
    ]
    latent = levels[0] if layers is None else levels
    plan = plan.predicting(getattr(decoder, "predicts", "planned"))
    pred = decoder(latent, plan)
    _require(pred.shape == (3, plan.ids_predict.shape[1], out_dim), "the prediction has the shape (B, M, P)")
    pred.square().mean().backward()
    idle = [name for name, p in decoder.named_parameters() if p.requires_grad and p.grad is None]
    _require(not idle, f"every parameter has a gradient ({', '.join(idle)} have none)")
    for level in levels:
        _require(level.grad is not None and level.grad.abs().sum() > 0, "the gradient reaches the encoder")
    few = replace(plan, ids_predict=plan.ids_predict[:, :2])
    _require(decoder(latent, few).shape == (3, 2, out_dim), "fewer patches can be asked for")
    _check_form(decoder)


def check_target(target: nn.Module, images: Tensor, grid: tuple[int, int]) -> None:
    """A target has its width, no gradient, float32 or tokens, and inverts itself where it says so."""
    plan = _plan(grid, len(images)).predicting(getattr(target, "predicts", "planned"))
    images = images.clone().requires_grad_()
    wanted = target(images, plan)
    number = (len(images), plan.ids_predict.shape[1])
    if getattr(target, "gives_tokens", False):
        _require(wanted.shape == number and wanted.dtype is torch.int64, "tokens are int64 (B, M)")
        _require(((wanted >= 0) & (wanted < target.out_dim)).all(), "tokens are below out_dim")
    else:
        _require(wanted.shape == (*number, target.out_dim), "the target is (B, M, P)")
        _require(wanted.dtype is torch.float32, "the target is float32")
    _require(not wanted.requires_grad, "the target has no gradient")
    flat = target(torch.full_like(images, 0.5), plan)
    _require(flat.isfinite().all(), "the target of constant patches is finite")
    with torch.autocast("cpu", torch.bfloat16):
        again = target(images, plan)
    rounding = 0.1 * wanted.float().abs().mean() if getattr(target, "rounds_with_autocast", False) else 0.0
    _require(
        (wanted - again).float().abs().mean() <= rounding, "autocast changes a target by its teacher's rounding only"
    )
    if target.invertible:
        pixels = target.invert(wanted, images, plan)
        exact = target.invert(target(images, plan), images, plan)
        _require(torch.allclose(pixels, exact), "invert is deterministic")
        _require(_round_trip(target, pixels, images, plan), "invert(target(x)) gives the pixels of picture(x)")
    _check_form(target)


def _round_trip(target: nn.Module, pixels: Tensor, images: Tensor, plan: MaskPlan) -> bool:
    from maetool.ops.patches import patchify

    return torch.allclose(pixels, plan.take_predicted(patchify(target.picture(images), target.patch_size)), atol=1e-4)


def check_head(head: nn.Module, out_dim: int = 12) -> None:
    """A head gives zero for a perfect prediction, something above zero otherwise, and stays finite in bfloat16."""
    plan = _plan((4, 4))
    generator = torch.Generator().manual_seed(0)
    shape = (3, plan.ids_predict.shape[1])
    if getattr(head, "takes_tokens", False):
        target = torch.randint(out_dim, shape, generator=generator)
        perfect = 1e4 * nn.functional.one_hot(target, out_dim).float()
    else:
        target = perfect = torch.randn(*shape, out_dim, generator=generator)
    _require(float(head(perfect, target, plan)["loss"]) == 0.0, "a perfect prediction costs nothing")
    wrong = torch.randn(*shape, out_dim, generator=generator).requires_grad_()
    loss = head(wrong, target, plan)["loss"]
    _require(loss > 0 and loss.ndim == 0, "an error costs something, as one number")
    loss.backward()
    _require(wrong.grad.abs().sum() > 0, "the loss has a gradient")
    with torch.autocast("cpu", torch.bfloat16):
        low = head(wrong.detach().bfloat16(), target, plan)["loss"]
    _require(low.isfinite() and low.dtype is torch.float32, "the loss is float32 and finite under autocast")
    flat = torch.zeros(*shape, out_dim)
    _require(head(flat, target, plan)["loss"].isfinite(), "the loss of a constant prediction is finite")
    _check_form(head)
