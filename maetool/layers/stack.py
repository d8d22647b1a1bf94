"""Blocks one after another."""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.patches import take_tokens
from maetool.ops.rotary import Rope

from .attention import Keep


def run_blocks(
    blocks: Sequence[Callable[..., Tensor]] | nn.ModuleList,
    x: Tensor,
    norm: nn.Module,
    layers: Sequence[int] | None = None,
    keep: Keep | None = None,
    rope: Rope | None = None,
    positions: Tensor | None = None,
) -> Tensor | list[Tensor]:
    """Return the normalised tokens of the last block, or a list of the raw tokens of some `layers`.

    Layer 0 is what enters the first block, layer i what leaves the i-th, and -1 what leaves the last.

    Args:
        blocks: from tokens (B, N, D) to tokens (B, N, D).
        x: (B, N, D).
        norm: what the last tokens pass; not those of `layers`.
        layers: which ones; may repeat.
        keep: bool (B, N), False = padding, which no token sees; or (B, N, N); or what finds it, see
            `maetool.layers.attention.Keep`. Every block gets it if it is there.
        rope: rotary positions; so with these.
        positions: (B, N, D), what is added before each block.
    """
    blocks = _with_context(blocks, keep, rope, positions)
    if layers is None:
        for block in blocks:
            x = block(x)  # (B, N, D)
        return norm(x)
    numbers = find_layers(layers, len(blocks))
    levels = {0: x}
    for number, block in enumerate(blocks[: max(numbers)], start=1):
        x = block(x)  # (B, N, D)
        if number in numbers:
            levels[number] = x
    return [levels[number] for number in numbers]


def run_blocks_at(
    blocks: nn.ModuleList,
    x: Tensor,
    ids: Tensor,
    keep: Keep | None = None,
    rope: Rope | None = None,
    positions: Tensor | None = None,
) -> Tensor:
    """Return the tokens `ids` (B, M) of x (B, N, D) after all blocks, (B, M, D); the last one computes only those.

    Args:
        blocks: see `Block`.
        x: (B, N, D).
        ids: of the tokens to return.
        keep, rope, positions: see `run_blocks`.
    """
    if not len(blocks):
        return take_tokens(x, ids)
    *first, last = _with_context(blocks, keep, rope, positions)
    for block in first:
        x = block(x)
    return last(x, ids)


def _with_context(
    blocks: Sequence[Callable[..., Tensor]] | nn.ModuleList,
    keep: Keep | None,
    rope: Rope | None,
    positions: Tensor | None,
) -> Sequence[Callable[..., Tensor]]:
    """Return blocks that need no more than tokens; those of strangers get nothing that is not there."""
    if keep is not None or rope is not None:
        blocks = [partial(block, keep=keep, rope=rope) for block in blocks]
    if positions is not None:
        blocks = [partial(_after_adding, positions, block) for block in blocks]
    return list(blocks)


def _after_adding(positions: Tensor, block: Callable[..., Tensor], x: Tensor, *rest: Tensor) -> Tensor:
    return block(x + positions, *rest)


def find_layers(layers: Sequence[int], num_layers: int) -> list[int]:
    """Return the numbers of `layers`, counted from 0 (what enters the first block) to `num_layers`.

    Raises:
        UsageError: no layer, one that there is not, or an encoder without any that could be read.
    """
    if not num_layers and list(layers) != [0]:
        raise UsageError(
            f"layers is {list(layers)}, but this encoder gives its last tokens only: use a plain ViT (Vision"
            "Transformer or TimmEncoder), or a decoder that reads the last tokens."
        )
    wrong = [layer for layer in layers if type(layer) is not int or not -num_layers - 1 <= layer <= num_layers]
    if wrong or not layers:
        raise UsageError(
            f"layers is {list(layers)}, but an encoder of {num_layers} blocks has the layers 0 (what enters the first "
            f"block) to {num_layers} (-1, what leaves the last): name some of them."
        )
    return [layer % (num_layers + 1) for layer in layers]


def find_even_layers(encoder: Any, layers: Sequence[int], reader: str) -> list[int]:
    """Return the numbers of `layers` as `find_layers` does, for what takes one token of the encoder's width a patch.

    Args:
        encoder: hierarchical ones have `layer_dims`, the width of each layer, and `layer_cells`, its tokens of a patch
            along each axis.
        layers: which ones.
        reader: name of the class that reads them, for the message.

    Raises:
        UsageError: layers that there are not, or one of another width or with several tokens for a patch.
    """
    numbers = find_layers(layers, getattr(encoder, "num_layers", 0))
    dims = getattr(encoder, "layer_dims", ())
    tokens = [prod(cells) for cells in getattr(encoder, "layer_cells", ())]
    even = [i for i, pair in enumerate(zip(dims, tokens, strict=True)) if pair == (encoder.embed_dim, 1)]
    if uneven := [number for number in numbers if dims and number not in even]:
        raise UsageError(
            f"{reader} takes one token of {encoder.embed_dim} numbers for each patch, but layer {uneven[0]} of "
            f"{type(encoder).__name__} has {tokens[uneven[0]]} of {dims[uneven[0]]} numbers: name only such layers as "
            f"{', '.join(map(str, even))}."
        )
    return numbers
