"""Activation checkpointing and compilation, block by block."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine import Config
from torch import nn
from torch.utils.checkpoint import checkpoint

from maetool.errors import UsageError

_VARIANTS = 4  # compilations of a block: its shapes in training, such as those of other numbers of visible patches


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Return the repeated blocks of the parts: the members of every module list called `blocks`."""
    lists = [part for name, part in model.named_modules() if name.split(".")[-1] == "blocks"]
    return [block for part in lists for block in part.children()]


def checkpoint_blocks(model: nn.Module, names: bool | str | Sequence[str] = True) -> int:
    """Switch on activation checkpointing and return of how many modules.

    Such a module computes its activations again in the backward pass instead of keeping them.

    Args:
        model: any.
        names: True for every block, or the names of modules of the model, such as "encoder.blocks.0".

    Raises:
        UsageError: no blocks, or a name that the model does not have.
    """
    names = [names] if isinstance(names, str) else names
    modules = blocks_of(model) if names is True else [_module(model, name) for name in dict.fromkeys(names)]
    if not modules:
        raise UsageError(
            f"{type(model).__name__} has no module list `blocks` to checkpoint: set gradient_checkpointing=False, or "
            "name the modules, gradient_checkpointing=[encoder.layers]."
        )
    for module in modules:
        module.forward = _recomputed(module.forward)
    return len(modules)


def _module(model: nn.Module, name: str) -> nn.Module:
    modules = dict(model.named_modules())
    if not name or name not in modules:
        near = difflib.get_close_matches(str(name), list(modules), n=3) or list(modules)[1:4]
        raise UsageError(f"gradient_checkpointing names {name!r}, which the model has not; near: {', '.join(near)}.")
    return modules[name]


def checkpointing_of(cfg: Config) -> bool | str | Sequence[str]:
    """Return what `gradient_checkpointing` of a config asks for; MMEngine's `activation_checkpointing` becomes it.

    MMEngine's own switch calls modules without keyword arguments and would come on top of ours.

    Raises:
        UsageError: both are set.
    """
    ours, names = cfg.get("gradient_checkpointing", False), cfg.pop("activation_checkpointing", None)
    if not names:
        return ours
    if ours:
        raise UsageError(
            f"The config says gradient_checkpointing={ours} and activation_checkpointing={names}: state only one; both "
            "take the names of modules."
        )
    cfg.gradient_checkpointing = names
    return names


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
