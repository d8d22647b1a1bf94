"""The repeated blocks of a model, and activation checkpointing."""

import difflib
from collections.abc import Sequence
from typing import Any

from mmengine import Config
from torch import nn
from torch.utils.checkpoint import checkpoint

from maetool._deprecated import moved
from maetool.errors import UsageError


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


__getattr__ = moved(__name__, {"compile_blocks": "maetool.parallel.compiling.compile_blocks"}, "0.3.0")
