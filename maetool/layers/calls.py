"""Calls of modules, for which kernels for the CPU stand in where nobody could tell, but by time and memory.

Whatever watches or replaces a module (hooks, LoRA, parametrisations, quantisation, a forward of its own) takes effect,
because the module is then simply called; so it is on every other device.
"""

from typing import Any, TypeGuard, TypeVar

from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from maetool.ops import cpu

_WATCHED = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_compiled_call_impl")
Kind = TypeVar("Kind", bound=nn.Module)
_KINDS = (nn.Linear, nn.LayerNorm, nn.GELU, nn.Conv1d, nn.Conv2d, nn.Conv3d)
# As they were before anybody replaced them.
_FORWARDS: dict[type, Any] = {kind: kind.forward for kind in _KINDS}


def is_plain(module: nn.Module, kind: type[Kind]) -> TypeGuard[Kind]:
    """Return whether a call of a module is the forward of exactly this kind on plain weights, and nothing else.

    Args:
        module: any.
        kind: a class, such as `nn.Linear`. A subclass is another kind: LoRA, parametrisations and quantisation make
            subclasses, or tensors of a subclass.
    """
    own = kind.forward is _FORWARDS.get(kind, kind.forward) and "forward" not in module.__dict__
    if type(module) is not kind or not own:
        return False
    watched = any(getattr(module, name) for name in _WATCHED) or bool(_has_any_global_hook())
    weights = module._parameters.values()
    return not watched and all(weight is None or type(weight) in (Tensor, nn.Parameter) for weight in weights)


def call_linear(module: nn.Module, x: Tensor) -> Tensor:
    """Return `module(x)`, where it is an `nn.Linear` by the quicker product if x is on a CPU."""
    if is_plain(module, nn.Linear) and cpu.takes(x):
        return cpu.linear(x, module.weight, module.bias)
    return module(x)


def call_gelu_linear(act: nn.Module, module: nn.Module, x: Tensor) -> Tensor:
    """Return `module(act(x))`, on a CPU without keeping what `act`, an exact GELU, returns for the backward pass."""
    if is_plain(act, nn.GELU) and act.approximate == "none" and is_plain(module, nn.Linear) and cpu.takes(x):
        return cpu.gelu_linear(x, module.weight, module.bias)
    return call_linear(module, act(x))


def call_norm_linear(norm: nn.Module | None, module: nn.Module, x: Tensor) -> Tensor:
    """Return `module(norm(x))`, on a CPU without keeping what `norm`, an `nn.LayerNorm`, returns; None is no norm."""
    if norm is None:
        return call_linear(module, x)
    if is_plain(norm, nn.LayerNorm) and is_plain(module, nn.Linear) and cpu.takes(x):
        return cpu.norm_linear(x, norm, module.weight, module.bias)
    return call_linear(module, norm(x))
