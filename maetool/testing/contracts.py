"""What every part must keep, as functions that raise AssertionError with a sentence.

maetool runs them over its registries; a plugin runs them over its own parts:

    from maetool.testing import check_masker
    def test_stripes():
        check_masker(StripeMasker(mask_ratio=0.5))
"""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import nn

from maetool.structures import Layout, MaskPlan

GRIDS = ((4, 4), (2, 8), (14, 14), (7, 5))


def _require(holds: object, promise: str) -> None:
    if not holds:
        raise AssertionError(f"The part breaks its contract: {promise}.")


def _plan(grid: Any, batch_size: int = 3, num_keep: int | None = None) -> MaskPlan:
    generator, length = torch.Generator().manual_seed(1), Layout.of(grid).length
    scores = torch.rand(batch_size, length, generator=generator)
    return MaskPlan.from_scores(scores, num_keep or max(1, length // 4), grid)


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
