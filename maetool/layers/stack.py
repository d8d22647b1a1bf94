"""Blocks one after another."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.patches import take_tokens


def run_blocks(
    blocks: Sequence[Callable[[Tensor], Tensor]], x: Tensor, norm: nn.Module, layers: Sequence[int] | None = None
) -> Tensor | list[Tensor]:
    """Return the normalised tokens of the last block, or a list of the raw tokens of some `layers`.

    Layer 0 is what enters the first block, layer i what leaves the i-th, and -1 what leaves the last.

    Args:
        blocks: from tokens (B, N, D) to tokens (B, N, D).
        x: (B, N, D).
        norm: what the last tokens pass; not those of `layers`.
        layers: which ones; may repeat.
    """
    if layers is None:
        for block in blocks:
            x = block(x)  # (B, N, D)
        return norm(x)
    numbers = find_layers(layers, len(blocks))
    found = {0: x}
    for number, block in enumerate(list(blocks)[: max(numbers)], start=1):
        x = block(x)  # (B, N, D)
        if number in numbers:
            found[number] = x
    return [found[number] for number in numbers]


def run_blocks_at(blocks: nn.ModuleList, x: Tensor, ids: Tensor) -> Tensor:
    """Return the tokens `ids` (B, M) of x (B, N, D) after all blocks, (B, M, D); the last one computes only those."""
    for block in blocks[:-1]:
        x = block(x)
    return blocks[-1](x, ids) if len(blocks) else take_tokens(x, ids)


def find_layers(layers: Sequence[int], num_layers: int) -> list[int]:
    """Return the numbers of `layers`, counted from 0 (what enters the first block) to `num_layers`.

    Raises:
        UsageError: no layer, one that there is not, or an encoder without any that could be read.
    """
    if not num_layers and list(layers) != [0]:
        raise UsageError(
            f"layers is {list(layers)}, but this encoder gives its last tokens only: take a plain ViT (Vision"
            "Transformer or TimmEncoder), or a decoder that reads the last tokens."
        )
    wrong = [layer for layer in layers if type(layer) is not int or not -num_layers - 1 <= layer <= num_layers]
    if wrong or not layers:
        raise UsageError(
            f"layers is {list(layers)}, but an encoder of {num_layers} blocks has the layers 0 (what enters the first "
            f"block) to {num_layers} (-1, what leaves the last): name some of them."
        )
    return [layer % (num_layers + 1) for layer in layers]
