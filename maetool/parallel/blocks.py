"""Activation checkpointing and compilation, block by block."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine import Config
from torch import nn
from torch.utils.checkpoint import checkpoint

from maetool.errors import UsageError

_VARIANTS = 4  # compiled variants per block: training shapes, such as different numbers of visible patches


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Return the repeated blocks of `model`, in all its parts: the members of every module list called `blocks`."""
    lists = [part for name, part in model.named_modules() if name.split(".")[-1] == "blocks"]
    return [block for part in lists for block in part.children()]


def checkpoint_blocks(model: nn.Module, names: bool | str | Sequence[str] = True) -> int:
    """Enable activation checkpointing of modules and return their number.

    A checkpointed module recomputes its activations in the backward pass instead of storing them.

    Args:
        model: any model.
        names: True for every block, or the names of modules of the model, such as "encoder.blocks.0".

    Raises:
        UsageError: no blocks, or a name that the model does not have.
    """
    names = [names] if isinstance(names, str) else names
    chosen = [_module(model, name) for name in dict.fromkeys(names)] if isinstance(names, Sequence) else []
    modules = chosen if isinstance(names, Sequence) else blocks_of(model)
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
        raise UsageError(
            f"gradient_checkpointing names {name!r}, which is not a module of the model: choose for example "
            f"{', '.join(near)}."
        )
    return modules[name]


def checkpointing_of(cfg: Config) -> bool | str | Sequence[str]:
    """Return `gradient_checkpointing` of `cfg`; MMEngine's `activation_checkpointing` is converted to it.

    MMEngine's implementation calls modules without keyword arguments and would be applied in addition.

    Raises:
        UsageError: both are set.
    """
    own, names = cfg.get("gradient_checkpointing", False), cfg.pop("activation_checkpointing", None)
    if not names:
        return own
    if own:
        raise UsageError(
            f"The config has gradient_checkpointing={own} and activation_checkpointing={names}: set only one; both "
            "take names of modules."
        )
    cfg.gradient_checkpointing = names
    return names


def _recomputed(forward: Any) -> Any:
    def recomputed(*args: Any, **options: Any) -> Any:
        return checkpoint(forward, *args, use_reentrant=False, **options)

    return recomputed


def compile_blocks(model: nn.Module, options: Mapping[str, Any] | bool) -> int:
    """Compile every block in place, which keeps the names of the weights; return their number.

    Blocks are compiled instead of the complete model, because equal blocks share one compilation and masking stays
    outside. A block runs compiled in training, a frozen one always; evaluation runs uncompiled, because each different
    number of images or tokens would need another compilation.

    Args:
        model: any model.
        options: True, or the arguments of `torch.compile`.

    Raises:
        UsageError: `options` has a wrong type.
    """
    if not isinstance(options, bool | Mapping):
        raise UsageError(f"compile is {options!r}, but must be True, False or the arguments of torch.compile.")
    blocks = blocks_of(model)
    _allow_variants(_VARIANTS * len(blocks))
    for block in blocks:
        # Shapes do not change during a run, so static ones are compiled once.
        block.compile(**{"dynamic": False, **(options if isinstance(options, Mapping) else {})})
        block._compiled_call_impl = _compiled_in_training(block)
    return len(blocks)


def _compiled_in_training(block: nn.Module) -> Callable[..., Any]:
    # Replaces the attribute that `Module.compile` sets, which copies of the block do not have.
    compiled, plain = block._compiled_call_impl, block._call_impl
    assert compiled is not None, "`Module.compile` was called before"
    frozen = not any(parameter.requires_grad for parameter in block.parameters())

    def call(*args: Any, **options: Any) -> Any:
        return (compiled if frozen or block.training else plain)(*args, **options)

    return call


def _allow_variants(number: int) -> None:
    """Raise torch's limit of compiled variants per function, 8, beyond which blocks run uncompiled.

    All blocks count together. Equal ones share a variant, but blocks of other libraries may have own constants.
    """
    from torch._dynamo import config as limits  # takes seconds to import, and only runs that compile need it

    limits.recompile_limit = max(limits.recompile_limit, number)
    limits.accumulated_recompile_limit = max(limits.accumulated_recompile_limit, number)
