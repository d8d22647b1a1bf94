"""Linear maps with little memory, whose float32 products run on oneDNN on a CPU.

PyTorch multiplies float32 matrices with MKL, which runs its slower kernels on processors that are not Intel's; oneDNN
asks the processor what it can do. On a Zen 5 it was 2.2 times as fast, with the same precision.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Other runtimes know neither the operator below nor how `attention` computes it here. torch 2.6 cannot say it.
is_exporting = getattr(torch.compiler, "is_exporting", bool)
# PyTorch calls this operator itself for compiled models; there is no public name for it.
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x (..., I) times weight (O, I) transposed plus bias (O,), as (..., O).

    Autocast's copy of the weight lives only as long as the product; the backward pass makes its own.
    """
    dtype = autocast_dtype(x) or x.dtype
    if dtype is weight.dtype and not _on_onednn(x, weight):
        return functional.linear(x, weight, bias)
    return _Linear.apply(x.to(dtype), weight, bias, False)


def gelu_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `linear(gelu(x), weight, bias)`, with the exact GELU, keeping only x for the backward pass.

    The activation is computed again there: it costs a hundredth of the product and would be the largest tensor kept.
    """
    return _Linear.apply(x.to(autocast_dtype(x) or x.dtype), weight, bias, True)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.gelu = gelu
        bias = None if bias is None else bias.to(x.dtype)
        return _product(functional.gelu(x) if gelu else x, weight.to(x.dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias, _ = ctx.needs_input_grad
        flat = grad.reshape(-1, grad.shape[-1])  # (N, O)
        grad_x = grad_weight = grad_bias = None
        if to_weight:
            active = functional.gelu(x) if ctx.gelu else x
            grad_weight = _product(flat.t(), active.reshape(-1, x.shape[-1]).t()).to(weight.dtype)  # (O, I)
        if to_bias:
            grad_bias = flat.sum(dim=0, dtype=weight.dtype)
        if to_x:
            grad_x = _product(flat, weight.to(x.dtype).t()).view(x.shape)
            if ctx.gelu:
                grad_x = torch.ops.aten.gelu_backward(grad_x, x)
        return grad_x, grad_weight, grad_bias, None


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """Return what autocast computes products of x in, or None where it is off."""
    device = x.device.type
    enabled = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if enabled else None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if not _on_onednn(x, weight):
        return functional.linear(x, weight, bias)
    # Compilers cannot look into the operator when its weight may change; called directly it is quicker.
    return (_opaque if torch.compiler.is_compiling() else _onednn)(x, weight, bias)


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


_opaque = torch.library.custom_op("maetool::onednn_linear", _onednn, mutates_args=())


@_opaque.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


def _on_onednn(x: Tensor, weight: Tensor) -> bool:
    if not _ONEDNN or is_exporting():
        return False
    return x.device.type == "cpu" and x.dtype is weight.dtype is torch.float32 and x.numel() > 0
