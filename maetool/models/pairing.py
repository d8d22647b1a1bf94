"""Which encoders, decoders and maskers fit together, checked when a model is built."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from maetool.errors import UsageError
from maetool.layers import find_even_layers
from maetool.ops.geometry import format_size, rank_of, to_size
from maetool.ops.prefix import has_class_token
from maetool.registry import DECODERS, ENCODERS
from maetool.structures import Layout
from maetool.structures.layout import ONLY

_SEES = {
    "visible": "only the visible patches",
    "all": "every place, the removed ones as mask tokens",
    "blank": "the visible patches, and mask tokens in some of the removed places",
}


def facts_of(encoder: Any, stream: str | None = None) -> dict[str, Any]:
    """Return the facts about the encoder that other parts receive, where their configs do not state them.

    Args:
        encoder: an encoder of one stream or of several.
        stream: the stream that the part reads, for an encoder of several; None for all of them.

    Raises:
        UsageError: the encoder has no such stream.
    """
    facts = {
        "grids": grids_of(encoder),
        "encoder_dim": encoder.embed_dim,
        "num_prefix_tokens": encoder.num_prefix_tokens,
        "has_class_token": has_class_token(encoder),
        "num_layers": getattr(encoder, "num_layers", 0),
        "layer_dims": getattr(encoder, "layer_dims", None),
        "layer_cells": getattr(encoder, "layer_cells", None),
        "encoder_norm": getattr(encoder, "norm", None),
    }
    streams = getattr(encoder, "streams", None)
    if streams is None:
        stride, patch_size = _stride(encoder), encoder.patch_size
        own = {"patch_size": patch_size, "in_chans": encoder.in_chans, "grid": encoder.grid}
        return {**facts, **own, "patches_per_token": tuple(s // p for s, p in zip(stride, patch_size, strict=True))}
    if stream is None:
        return facts
    if stream not in streams:
        raise UsageError(f"There is no stream {stream!r}, only {', '.join(streams)}: name one of these.")
    return {**facts, **streams[stream]}


def grids_of(encoder: Any) -> dict[str, tuple[int, ...]]:
    """Return the grid of each stream that an encoder is trained on."""
    streams = getattr(encoder, "streams", None)
    return {ONLY: encoder.grid} if streams is None else {name: own["grid"] for name, own in streams.items()}


def encoder_shape(encoder: Any) -> tuple[int, ...] | None:
    """Return C and the sides of an encoder's images: its `image_shape`, or else `in_chans` and `img_size`, or None."""
    if hasattr(encoder, "image_shape") or not hasattr(encoder, "in_chans") or not hasattr(encoder, "img_size"):
        return getattr(encoder, "image_shape", None)
    return encoder.in_chans, *to_size(encoder.img_size, "img_size", rank_of(encoder.img_size))


def channels_of(encoder: Any) -> dict[str, int]:
    """Return C as the preprocessor of an encoder takes it; nothing for one of ids, or of streams that differ."""
    shape = encoder_shape(encoder)
    return {} if shape is None else {"in_chans": shape[0]}


def layout_of(encoder: Any, batch: Any) -> Layout:
    """Return where the tokens of a batch lie, from shapes alone.

    Args:
        encoder: asked for its `layout_of`, else its `grid_of`.
        batch: images (B, C, *size), or a mapping of streams.
    """
    if hasattr(encoder, "layout_of"):
        return encoder.layout_of(batch)
    return Layout.of(encoder.grid_of(batch))


def check_pairing(encoder: Any, decoders: Sequence[Any], masker: Any) -> None:
    """Check that decoders can read what an encoder gives, and that a masker can hide what it needs hidden.

    A third-party part that declares nothing is treated like MAE's: an encoder that drops removed patches, a decoder
    that puts them back.

    Raises:
        UsageError: they do not fit; the message names those that would.
    """
    encoder_name, norm = type(encoder).__name__, getattr(encoder, "norm", None)
    for decoder in decoders:
        if not _reads(decoder, encoder):
            decoder_name, sees = type(decoder).__name__, _SEES[getattr(encoder, "sees", "visible")]
            raise UsageError(
                f"{decoder_name} cannot read {encoder_name}, which sees {sees}{_strides(encoder)}: use the decoder "
                f"{_decoders(encoder)}, or an encoder that fits {decoder_name}, {_encoders(decoder)}."
            )
        if (layers := getattr(decoder, "layers", None)) and not getattr(decoder, "reads_cells", False):
            find_even_layers(encoder, layers, type(decoder).__name__)
    raw = [d for d in decoders if getattr(d, "layers", None) and getattr(d, "encoder_norm", None) is not norm]
    if len(raw) == len(decoders) and _learns(norm):
        raise UsageError(
            f"{type(raw[0]).__name__} reads raw tokens, so that the norm of {encoder_name} would never be trained: "
            "set encoder.final_norm=False."
        )
    _check_masker(encoder, masker)


def _check_masker(encoder: Any, masker: Any) -> None:
    needed = facts_of(encoder).get("patches_per_token", ())
    for part in _single(masker):
        unit = getattr(part, "unit", 1)
        unit = tuple(unit) if isinstance(unit, Sequence) else (unit,) * len(needed)
        if any(u % n for u, n in zip(unit, needed, strict=True)):
            raise UsageError(
                f"{type(part).__name__} hides {format_size(unit)} patches at a time, but a token of "
                f"{type(encoder).__name__} covers {format_size(needed)} and is either seen or hidden: use the "
                f"masker AlignedMasker, unit={needed[0]}."
            )


def _single(masker: Any) -> list[Any]:
    """Return the maskers that a masker of several is made of, also of those in it; or itself."""
    return [part for one in getattr(masker, "maskers", ()) for part in _single(one)] or [masker]


def _reads(decoder: Any, encoder: Any) -> bool:
    """Whether a decoder, or a class of decoders, reads what an encoder gives."""
    return (
        getattr(encoder, "sees", "visible") in getattr(decoder, "reads", ("visible",))
        and (getattr(decoder, "any_stride", False) or not _strides(encoder))
        and (getattr(decoder, "layers", None) is None or getattr(encoder, "num_layers", 0) > 0)
    )


def _stride(encoder: Any) -> tuple[int, ...]:
    return getattr(encoder, "stride", encoder.patch_size)


def _strides(encoder: Any) -> str:
    if hasattr(encoder, "streams"):
        return ""  # each token is a patch
    stride, patch = _stride(encoder), encoder.patch_size
    return "" if stride == patch else f" in tokens of {format_size(stride)} pixels, patches being {format_size(patch)}"


def _learns(norm: nn.Module | None) -> bool:
    return norm is not None and any(parameter.requires_grad for parameter in norm.parameters())


def _decoders(encoder: Any) -> str:
    return " or ".join(sorted(name for name, part in DECODERS.parts().items() if _reads(part, encoder))) or "none"


def _encoders(decoder: Any) -> str:
    readable = getattr(decoder, "reads", ("visible",))
    fitting = {
        name: [sees for sees in getattr(part, "can_see", ("visible",)) if sees in readable]
        for name, part in sorted(ENCODERS.parts().items())
    }
    named = [f'{name} (sees="{choices[0]}")' for name, choices in fitting.items() if choices]
    return " or ".join(named)
