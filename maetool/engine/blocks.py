"""Switches on the transformer blocks: recompute activations, compile."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from maetool.errors import UsageError

_VARIANTS = 4  # compilations of a block: its shapes in training, such as those of other numbers of visible patches


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

    Blocks, and not the whole model, because equal blocks share one compilation and masking stays outside. A block runs
    compiled in training, and a frozen one always; an evaluation runs as it is, because it sees other numbers of images
    and of tokens, each of which would be compiled anew.

    Args:
        model: any.
        options: True, or the arguments of `torch.compile`.

    Raises:
        UsageError: options of another type.
    """
    if not isinstance(options, bool | Mapping):
        raise UsageError(f"compile is {options!r}, but must be True, False or the arguments of torch.compile.")
    blocks = blocks_of(model)
    _allow_variants(_VARIANTS * len(blocks))
    for block in blocks:
        # The shapes of a run never change, so that fixed ones are compiled once.
        block.compile(**{"dynamic": False, **({} if options is True else options)})
        block._compiled_call_impl = _compiled_in_training(block)
    return len(blocks)


def _compiled_in_training(block: nn.Module) -> Callable[..., Any]:
    # In the place where `Module.compile` puts what it compiles: copies of the block do without it.
    compiled, plain = block._compiled_call_impl, block._call_impl
    frozen = not any(parameter.requires_grad for parameter in block.parameters())

    def call(*args: Any, **options: Any) -> Any:
        return (compiled if frozen or block.training else plain)(*args, **options)

    return call


def _allow_variants(number: int) -> None:
    """Let torch compile one function in so many variants; beyond its limit of 8 it runs blocks as they are.

    All blocks count together. Equal ones share a variant, but blocks of other libraries may hold numbers of their own.
    """
    from torch._dynamo import config as limits  # takes seconds, and is for runs that compile

    limits.recompile_limit = max(limits.recompile_limit, number)
    limits.accumulated_recompile_limit = max(limits.accumulated_recompile_limit, number)
