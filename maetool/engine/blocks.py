"""Switches on the transformer blocks: recompute activations, compile."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from maetool.errors import UsageError


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Return the repeated blocks of the parts: the members of every module list called `blocks`."""
    lists = [part for name, part in model.named_modules() if name.split(".")[-1] == "blocks"]
    return [block for part in lists for block in part.children()]


def checkpoint_blocks(model: nn.Module) -> int:
    """Let every block compute its activations again in the backward pass, instead of keeping them; return how many."""
    blocks = blocks_of(model)
    for block in blocks:
        block.forward = _recomputed(block.forward)
    return len(blocks)


def _recomputed(forward: Any) -> Any:
    def recomputed(*args: Any, **options: Any) -> Any:
        return checkpoint(forward, *args, use_reentrant=False, **options)

    return recomputed


def compile_blocks(model: nn.Module, options: Mapping[str, Any] | bool) -> int:
    """Compile every block in place, which leaves the names of the weights as they are; return how many.

    Blocks, and not the whole model, because equal blocks share one compilation and masking stays outside.

    Args:
        model: any.
        options: True, or the arguments of `torch.compile`.

    Raises:
        UsageError: options of another type.
    """
    if not isinstance(options, bool | Mapping):
        raise UsageError(f"compile is {options!r}, but must be True, False or the arguments of torch.compile.")
    blocks = blocks_of(model)
    for block in blocks:
        # The shapes of a run never change, so that fixed ones are compiled once.
        block.compile(**{"dynamic": False, **({} if options is True else options)})
    return len(blocks)
