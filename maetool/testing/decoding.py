"""What decoders must keep, as functions that raise AssertionError with a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from maetool.structures import Layout, MaskPlan

from .contracts import _check_form, _require


def check_decoder(
    decoder: nn.Module,
    encoder_dim: int,
    out_dim: int,
    grid: Sequence[int] | Mapping[str, Sequence[int]],
    prefix: int = 1,
    stream: str | None = None,
) -> None:
    """A decoder predicts exactly what the plan asks for, every parameter takes part, and padding changes nothing.

    Args:
        decoder: the part.
        encoder_dim: D.
        out_dim: P; of a decoder for several streams, the largest of their widths.
        grid: that it is built for, of 1, 2 or 3 axes; or name of each stream to its grid.
        prefix: T.
        stream: that a decoder with `reads_streams` predicts, from the tokens of all in `grid`.

    Raises:
        AssertionError: it breaks a promise; the message says which.
    """
    layout = Layout.of(grid)
    scores = torch.rand(3, layout.length, generator=torch.Generator().manual_seed(1))
    plan = MaskPlan.from_scores(scores, max(1, layout.length // 4), layout)
    latent, levels = _latent(decoder, plan, encoder_dim, prefix)
    plan = plan.predicting(getattr(decoder, "predicts", None) or "planned")
    options = _memory(decoder, layout, encoder_dim, prefix)
    pred = decoder(latent, plan, **options)
    _require(pred.shape == (3, _asked(plan, stream).shape[1], out_dim), "the prediction has the shape (B, M, P)")
    pred.square().mean().backward()
    idle = [name for name, p in decoder.named_parameters() if p.requires_grad and p.grad is None]
    _require(not idle, f"every parameter has a gradient ({', '.join(idle)} have none)")
    for level in [*levels, *options.values()]:
        _require(level.grad is not None and level.grad.abs().sum() > 0, "the gradient reaches the encoder")
    few = replace(plan, ids_predict=plan.ids_predict[:, :2])
    number = _asked(few, stream).shape[1]
    latent = latent[:, :2] if _continues(decoder) else latent
    _require(decoder(latent, few, **options).shape == (3, number, out_dim), "fewer patches can be asked for")
    _check_padding(decoder, layout, encoder_dim, prefix, stream)
    _check_form(decoder)


def _asked(plan: MaskPlan, stream: str | None) -> Tensor:
    """Return bool (B, M), True where a prediction counts, of all streams or of one."""
    own = plan if stream is None else plan.only(stream)
    return torch.ones_like(own.ids_predict, dtype=torch.bool) if own.weight is None else own.weight > 0


def _continues(decoder: nn.Module) -> bool:
    """Whether a decoder reads the predictions (B, M, D) of another one."""
    return "predicted" in getattr(decoder, "reads", ("visible",))


def _latent(decoder: nn.Module, plan: MaskPlan, encoder_dim: int, prefix: int) -> tuple[Any, list[Tensor]]:
    """Return what the decoder reads, tokens (B, T + N, D) or a list of those of its layers, and all of them."""
    generator = torch.Generator().manual_seed(0)
    seen = plan.num_keep if "visible" in getattr(decoder, "reads", ("visible",)) else plan.layout.length
    prefix, seen = (0, plan.ids_predict.shape[1]) if _continues(decoder) else (prefix, seen)
    layers = getattr(decoder, "layers", None)
    levels = [
        torch.randn(3, prefix + seen, encoder_dim, generator=generator, requires_grad=True) for _ in layers or [None]
    ]
    return (levels[0] if layers is None else levels), levels


def _memory(decoder: nn.Module, layout: Layout, encoder_dim: int, prefix: int) -> dict[str, Tensor]:
    if not getattr(decoder, "takes_memory", False):
        return {}
    generator = torch.Generator().manual_seed(2)
    shape = (3, prefix + layout.length, encoder_dim)
    return {"memory": torch.randn(shape, generator=generator, requires_grad=True)}


def _check_padding(decoder: nn.Module, layout: Layout, encoder_dim: int, prefix: int, stream: str | None) -> None:
    """Where samples keep other numbers of patches, what fills them up changes nothing; decoders of all places skip it.

    Each sample's own predictions are those of the sample alone, and their gradient reaches none of the padding.
    """
    if (
        "visible" not in getattr(decoder, "reads", ("visible",))
        or (getattr(decoder, "predicts", None) or "planned") != "planned"
    ):
        return
    decoder = decoder.eval()
    counts = torch.tensor([1, max(2, layout.length // 3), 2])
    scores = torch.rand(3, layout.length, generator=torch.Generator().manual_seed(1))
    plan = MaskPlan.from_scores(scores, counts, layout)
    latent, levels = _latent(decoder, plan, encoder_dim, prefix)
    options = _memory(decoder, layout, encoder_dim, prefix)
    pred, counted = decoder(latent, plan, **options), _asked(plan, stream)
    pred[counted].square().sum().backward()
    for number, keep in enumerate(counts.tolist()):
        own = slice(number, number + 1)
        alone = MaskPlan.from_scores(scores[own], keep, layout)
        cut = [level[own, : prefix + keep] for level in levels]
        part = {name: value[own] for name, value in options.items()}
        expected = decoder(cut[0] if isinstance(latent, Tensor) else cut, alone, **part)
        close = torch.allclose(pred[own][counted[own]], expected[_asked(alone, stream)], atol=1e-4)
        _require(close, "a sample's predictions do not depend on padding")
        reached = [level.grad for level in levels if level.grad is not None]
        padding = [grad[own, prefix + keep :].abs().sum() for grad in reached]
        _require(bool(reached) and not any(padding), "no gradient reaches padding")
