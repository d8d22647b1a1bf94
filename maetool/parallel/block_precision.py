"""Sharded blocks whose weights are gathered in 16 bits."""

from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.nn import functional

_NORMS = (nn.LayerNorm, nn.RMSNorm)


def policy_of(dtype: torch.dtype | None) -> MixedPrecisionPolicy:
    """Return what FSDP does with the weights of a block: gathers them in `dtype`, and adds gradients up in float32.

    Inputs stay as they are: autocast casts those of products, and the residual stream stays float32.

    Args:
        dtype: 16 bits; None leaves the weights as they are.
    """
    if dtype is None:
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)


def compute_in(block: nn.Module, dtype: torch.dtype, methods: tuple[str, ...]) -> None:
    """Let a block, whose weights will be in 16 bits when it runs, compute with autocast even where that is off.

    Args:
        block: changed in place.
        dtype: of the weights.
        methods: names of those that compute with weights.
    """
    for name in methods:
        if callable(getattr(block, name, None)):
            setattr(block, name, _with_autocast(getattr(block, name), dtype))
    for norm in block.modules():
        if type(norm) in _NORMS:
            norm.forward = _Normalised(norm)


def _with_autocast(method: Any, dtype: torch.dtype) -> Any:
    @wraps(method)
    def call(x: Tensor, *arguments: Any, **named: Any) -> Any:
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            return method(x, *arguments, **named)
        with torch.autocast(kind, dtype):
            return method(x, *arguments, **named)

    return call


class _Normalised:
    """The forward of a norm with weights of the dtype of its input, which CPUs need."""

    def __init__(self, norm: Any) -> None:
        self.norm = norm

    def __call__(self, x: Tensor) -> Tensor:
        norm = self.norm
        weight = None if norm.weight is None else norm.weight.to(x.dtype)
        if isinstance(norm, nn.RMSNorm):
            return functional.rms_norm(x, norm.normalized_shape, weight, norm.eps)
        bias = None if norm.bias is None else norm.bias.to(x.dtype)
        return functional.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)
