"""Linear maps with little memory, whose float32 products run on oneDNN on a CPU.

PyTorch multiplies float32 matrices with MKL, which runs its slower kernels on processors that are not Intel's; oneDNN
asks the processor what it can do. On a Zen 5 it was 2.2 times as fast, with the same precision.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

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


def norm_linear(x: Tensor, norm: nn.Module, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `linear(norm(x), weight, bias)`, keeping only x for the backward pass, which normalises again.

    Args:
        x: (..., I).
        norm: over the last axis; what is no plain `nn.LayerNorm` is simply called.
        weight, bias: (O, I) and (O,).
    """
    if type(norm) is not nn.LayerNorm or norm.bias is None or x.dtype is not norm.weight.dtype or _traced():
        return linear(norm(x), weight, bias)
    return _NormLinear.apply(x, norm.weight, norm.bias, norm.eps, weight, bias)


def _traced() -> bool:
    # Compilers choose by themselves what to keep.
    return torch.compiler.is_compiling() or torch.compiler.is_exporting()


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
        grad_x, *others = _gradients(grad, lambda: functional.gelu(x) if ctx.gelu else x, weight, ctx.needs_input_grad)
        if ctx.gelu and grad_x is not None:
            grad_x = torch.ops.aten.gelu_backward(grad_x, x)
        return grad_x, *others, None


class _NormLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, eps: float, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        normed, mean, rstd = torch.native_layer_norm(x, gamma.shape, gamma, beta, eps)
        ctx.save_for_backward(x, mean, rstd, gamma, beta, weight)
        ctx.eps, dtype = eps, autocast_dtype(x) or x.dtype
        return _product(normed.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, rstd, gamma, beta, weight = ctx.saved_tensors
        *to_norm, _, to_weight, to_bias = ctx.needs_input_grad

        def normed() -> Tensor:
            return torch.native_layer_norm(x, gamma.shape, gamma, beta, ctx.eps)[0].to(grad.dtype)

        grad_normed, *others = _gradients(grad, normed, weight, (any(to_norm), to_weight, to_bias))
        of_norm: tuple[Tensor | None, ...] = (None, None, None)
        if grad_normed is not None:
            of_norm = torch.ops.aten.native_layer_norm_backward(
                grad_normed.to(x.dtype), x, gamma.shape, mean, rstd, gamma, beta, to_norm
            )
        return *of_norm, None, *others


def _gradients(
    grad: Tensor, x: Callable[[], Tensor], weight: Tensor, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of x (..., I), which is computed again, weight (O, I) and bias (O,), those `needed`."""
    to_x, to_weight, to_bias = needed[:3]
    flat = grad.reshape(-1, grad.shape[-1])  # (N, O)
    grad_x = grad_weight = grad_bias = None
    if to_weight:
        grad_weight = _product(flat.t(), x().reshape(-1, weight.shape[1]).t()).to(weight.dtype)  # (O, I)
    if to_bias:
        grad_bias = flat.sum(dim=0, dtype=weight.dtype)
    if to_x:
        grad_x = _product(flat, weight.to(grad.dtype).t()).unflatten(0, grad.shape[:-1])
    return grad_x, grad_weight, grad_bias


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """Return what autocast computes products of x in, or None where it is off."""
    device = x.device.type  # autocast knows all but "meta"; older compilers cannot look into the question which
    return None if x.is_meta or not torch.is_autocast_enabled(device) else torch.get_autocast_dtype(device)


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
    if not _ONEDNN or torch.compiler.is_exporting():  # other runtimes do not know the operator
        return False
    return x.device.type == "cpu" and x.dtype is weight.dtype is torch.float32 and x.numel() > 0
