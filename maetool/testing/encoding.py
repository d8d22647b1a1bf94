"""What stems and encoders must keep, as functions that raise AssertionError with a sentence."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.structures import Layout, MaskPlan, tensors_of

from .contracts import _check_form, _require

Batch = Any  # one tensor, or a mapping of them
Hide = Callable[[Batch, MaskPlan], Batch]


def check_stem(stem: nn.Module, x: Tensor) -> None:
    """A stem says where its tokens lie, gives one for each place, and each sample its own.

    Args:
        stem: the part.
        x: (B, ...), an input of at least two samples, of the size that it is trained on.
    """
    stem = stem.eval()
    layout, tokens = stem.layout_of(x), stem(x)
    _require(list(layout.grids) == list(stem.streams), "layout_of has the streams that it states")
    for name, facts in stem.streams.items():
        _require(layout.grids[name] == tuple(facts["grid"]), "layout_of agrees with the grid of each stream")
        _require(len(facts["patch_size"]) == len(facts["grid"]), "patch_size has the axes of the grid")
        _require(facts["in_chans"] > 0, "in_chans is a number of channels")
    _require(tokens.ndim == 3 and tokens.shape[:2] == (len(x), layout.length), "there is a token for each place")
    _require(torch.allclose(stem(x[1:2]), tokens[1:2], atol=1e-5), "a sample's tokens do not depend on its batch")
    for name, value in (("coords", layout.coords), ("valid", layout.valid)):
        _require(value is None or value.shape[:2] == (len(x), layout.length), f"{name} are of each place")
    _require((layout.coords is None) == (getattr(stem, "coord_dim", 0) == 0), "coord_dim says whether there are coords")
    tokens.square().mean().backward()
    idle = [name for name, p in stem.named_parameters() if p.requires_grad and p.grad is None]
    _require(not idle, f"every parameter has a gradient ({', '.join(idle)} have none)")
    stem.zero_grad()
    _check_form(stem)


def check_encoder(encoder: nn.Module, batch: Batch = None, hide: Hide | None = None) -> None:
    """An encoder states its facts, hides nothing without a plan, and never looks at what is removed.

    Args:
        encoder: the part.
        batch: three samples, of the size that it is trained on; by default images of noise.
        hide: a function from a batch and a plan to the batch with other numbers in every removed place; by default for
            images.

    Raises:
        AssertionError: it breaks a promise; the message says which.
    """
    encoder = encoder.eval()
    if batch is None:
        generator = torch.Generator().manual_seed(0)
        batch = torch.randn(3, encoder.in_chans, *encoder.img_size, generator=generator)
        _require(encoder.grid_of(batch) == tuple(encoder.grid), "grid_of agrees with grid")
    layout = encoder.layout_of(batch) if hasattr(encoder, "layout_of") else Layout.of(encoder.grid_of(batch))
    features = encoder(batch)
    tokens, prefix = features.shape[1] - encoder.num_prefix_tokens, encoder.num_prefix_tokens
    if isinstance(batch, Tensor) and hasattr(encoder, "stride") and batch.ndim > 2:
        strides = zip(encoder.img_size, encoder.stride, strict=True)
        expected = torch.Size([side // step for side, step in strides]).numel()
        _require(tokens == expected, "no plan gives every token")
    _require(features.shape == (3, prefix + tokens, encoder.embed_dim), "no plan gives every token")
    _require(torch.equal(features, encoder(batch)), "features of whole images are deterministic")
    plan = _plan(layout)
    latent, seen = encoder(batch, plan), tokens if _sees(encoder) == "all" else plan.num_keep
    _require(latent.shape == (3, prefix + seen, encoder.embed_dim), "a plan gives the tokens that it sees")
    change = hide or _hide_pixels
    _require(torch.equal(latent, encoder(change(batch, plan), plan)), "changing removed pixels changes nothing")
    _check_nothing_hidden(encoder, batch, layout, features)
    _check_order(encoder, batch, plan, latent)
    _check_states(encoder, batch, layout, change)
    _check_more(encoder, batch, layout)
    _check_training(encoder)
    _check_form(encoder)


def _sees(encoder: nn.Module) -> str:
    return getattr(encoder, "sees", "visible")


def _plan(layout: Layout, **counts: Any) -> MaskPlan:
    scores = torch.rand(3, layout.length, generator=torch.Generator().manual_seed(1))
    return MaskPlan.from_scores(scores, **{"num_keep": max(1, layout.length // 4), **counts}, grid=layout)


def _hide_pixels(images: Tensor, plan: MaskPlan) -> Tensor:
    hidden = plan.mask_at(images.shape[2:])[:, None]
    return torch.where(hidden, torch.full_like(images, 1e3), images)


def _sample(batch: Batch, number: int) -> Batch:
    if isinstance(batch, Mapping):
        return {name: value[number : number + 1] for name, value in batch.items()}
    return batch[number : number + 1]


def _check_nothing_hidden(encoder: nn.Module, batch: Batch, layout: Layout, features: Tensor) -> None:
    length = layout.length
    ids = torch.arange(length).expand(3, -1)
    everything = MaskPlan(layout, ids, ids, ids, torch.zeros(3, length, dtype=torch.bool))
    close = torch.allclose(features, encoder(batch, everything), atol=1e-4)
    _require(close, "a plan that keeps everything hides nothing")


def _check_order(encoder: nn.Module, batch: Batch, plan: MaskPlan, latent: Tensor) -> None:
    """Tokens, also of another stream, may enter in any order."""
    flipped = replace(plan, ids_keep=plan.ids_keep.flip(1))
    ranks = torch.arange(plan.num_keep).flip(0)
    order = torch.cat([ranks, torch.arange(plan.num_keep, plan.mask.shape[1])])
    flipped = replace(flipped, ids_restore=order.argsort()[plan.ids_restore])
    prefix = encoder.num_prefix_tokens
    other = encoder(batch, flipped)
    expected = latent if _sees(encoder) == "all" else torch.cat([latent[:, :prefix], latent[:, prefix:].flip(1)], dim=1)
    _require(torch.allclose(other, expected, atol=1e-4), "patches that enter in another order give their own tokens")


def _check_states(encoder: nn.Module, batch: Batch, layout: Layout, change: Hide) -> None:
    """What a plan leaves blank, or pads, is heeded or refused."""
    keep = max(1, layout.length // 4)
    ragged = torch.tensor([1, keep, 1]) if keep > 1 else torch.tensor([1, min(2, layout.length), 1])
    blank = _plan(layout, num_blank=1)
    try:
        latent = encoder(batch, blank)
    except UsageError:
        latent = None
    if latent is not None:
        _require(torch.equal(latent, encoder(change(batch, blank), blank)), "pixels of blank places are not read")
    plan = _plan(layout, num_keep=ragged)
    try:
        latent = encoder(batch, plan)
    except UsageError:
        return
    prefix = encoder.num_prefix_tokens
    for number, own in enumerate(ragged.tolist()):
        seen = plan.mask.shape[1] if _sees(encoder) == "all" else own
        scores = plan.ids_restore[number : number + 1].float()
        alone = encoder(_sample(batch, number), MaskPlan.from_scores(scores, own, layout.mapped(_one(number))))
        valid = latent[number : number + 1, : prefix + seen]
        _require(torch.allclose(valid, alone, atol=1e-5), "a sample's tokens do not depend on the padding behind them")


def _one(number: int) -> Callable[[Tensor], Tensor]:
    return lambda value: value[number : number + 1]


def _check_more(encoder: nn.Module, batch: Batch, layout: Layout) -> None:
    """What an encoder may give beside its tokens."""
    if hasattr(encoder, "tokens"):
        tokens = encoder.tokens(batch)
        _require(tokens.shape == (3, layout.length, encoder.embed_dim), "tokens gives one for each place")
        _require(tokens.requires_grad, "tokens has a gradient")
    if hasattr(encoder, "attention"):
        p, number = encoder.attention(batch), encoder.num_prefix_tokens + layout.length
        _require(p.ndim == 4 and (p.shape[0], *p.shape[2:]) == (3, number, number), "attention is (B, heads, N, N)")
        _require(torch.allclose(p.sum(dim=3), torch.ones(p.shape[:3]), atol=1e-4), "rows of attention sum to 1")
    _require(all(len(value) == 3 for value in tensors_of(batch)), "the batch has three samples")


def _check_training(encoder: nn.Module) -> None:
    """What an encoder says about its parameters, if it does, is about parameters that it has."""
    names = {name for name, _ in encoder.named_parameters()}
    if hasattr(encoder, "no_weight_decay"):
        _require(set(encoder.no_weight_decay()) <= names, "no_weight_decay names parameters of the encoder")
    if hasattr(encoder, "layer_of"):
        layers = {encoder.layer_of(name) for name in names}
        _require(layers - {-1} == set(range(max(layers) + 1)), "layer_of gives the layers 0, 1 and so on, and -1")
