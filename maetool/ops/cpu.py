"""Kernels for CPUs: linear maps that keep little, their float32 products on oneDNN, and attention by matrix products.

PyTorch multiplies float32 matrices with MKL, which runs its slower kernels on processors that are not Intel's; oneDNN
asks the processor what it can do. On a Zen 5 it was 2.2 times as fast, with the same precision.

`takes` says when a kernel computes. Elsewhere each function is PyTorch's own.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional

_PLAIN = (Tensor, nn.Parameter)
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# PyTorch calls this operator itself for compiled models; there is no public name for it.
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
# Scores that are computed at once: few enough to stay in the processor's cache until they are used.
_SCORES = 3 * 2**19
# Above this many scores of one image they no longer fit, and PyTorch's kernel, which never stores them, is better.
_MOST_SCORES = 2**25


def takes(x: Tensor, *others: Tensor | None) -> bool:
    """Return whether the kernels compute with these values: plain tensors on a CPU, differentiated backwards.

    They leave to PyTorch subclasses of tensors (quantised, sharded, fake), transforms of `torch.func`, forward-mode
    differentiation, exporting and tracing, and what intercepts operations, such as a counter of FLOPs.

    Args:
        x, others: what would be computed with; None is left out.
    """
    values = [x, *(value for value in others if value is not None)]
    if not all(type(v) in _PLAIN and v.device.type == "cpu" and v.dtype in _DTYPES for v in values):
        return False
    alike = torch.is_autocast_enabled("cpu") or all(value.dtype is x.dtype for value in values)
    return alike and not _transformed() and not _intercepted()


def _transformed() -> bool:
    """Return whether a transform of `torch.func` is at work, or forward-mode differentiation."""
    in_forward_mode = not torch.compiler.is_compiling() and forward_ad._current_level >= 0
    return in_forward_mode or torch._C._are_functorch_transforms_active()


def _intercepted() -> bool:
    if torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return torch.compiler.is_exporting()
    return torch._C._get_tracing_state() is not None or torch._C._len_torch_dispatch_stack() > 0


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """Return what autocast computes products of x in, or None where it is off."""
    device = x.device.type  # autocast knows all but "meta"; older compilers cannot look into the question which
    return None if x.is_meta or not torch.is_autocast_enabled(device) else torch.get_autocast_dtype(device)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x (..., I) times weight (O, I) transposed plus bias (O,), as (..., O).

    Autocast's copy of the weight lives only as long as the product; the backward pass makes its own.
    """
    dtype = autocast_dtype(x) or x.dtype
    if not takes(x, weight, bias) or (dtype is weight.dtype and not _on_onednn(x, weight)):
        return functional.linear(x, weight, bias)
    return _Linear.apply(x.to(dtype), weight, bias, False)


def gelu_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `linear(gelu(x), weight, bias)`, with the exact GELU, keeping only x for the backward pass.

    The activation is computed again there: it costs a hundredth of the product and would be the largest tensor kept.
    """
    if not takes(x, weight, bias):
        return functional.linear(functional.gelu(x), weight, bias)
    return _Linear.apply(x.to(autocast_dtype(x) or x.dtype), weight, bias, True)


def norm_linear(x: Tensor, norm: nn.LayerNorm, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `linear(norm(x), weight, bias)`, keeping only x for the backward pass, which normalises again.

    Args:
        x: (..., I).
        norm: over the last axis; what is no plain `nn.LayerNorm` is simply called.
        weight, bias: (O, I) and (O,).
    """
    plain = type(norm) is nn.LayerNorm and norm.bias is not None and x.dtype is norm.weight.dtype
    # Compilers choose by themselves what to keep.
    if not plain or torch.compiler.is_compiling() or not takes(x, norm.weight, norm.bias, weight, bias):
        return linear(norm(x), weight, bias)
    return _NormLinear.apply(x, norm.weight, norm.bias, weight, bias, norm.eps)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return the attention (B, h, M, e) of queries (B, h, M, d) over keys (B, h, N, d) and values (B, h, N, e).

    It is `scaled_dot_product_attention`, and on a CPU the same with matrix products, some images at a time.
    Probabilities over few keys, such as visible patches, are kept for the backward pass, others computed again there.
    PyTorch's kernel took three times as long for the sequence lengths of images (197 tokens), most of it in its
    backward pass.

    Args:
        q: (B, h, M, d).
        k: (B, h, N, d).
        v: (B, h, N, e).
    """
    if takes(q, k, v) and q.shape[1] * q.shape[2] * k.shape[2] <= _MOST_SCORES:
        dtype = autocast_dtype(q) or q.dtype
        return _Attention.apply(q.to(dtype), k.to(dtype), v.to(dtype))
    if q.device.type == "cpu" and _transformed():
        return _plain_attention(q, k, v)
    return functional.scaled_dot_product_attention(q, k, v)


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return what `linear` does, of values of one dtype, without a gradient.

    Args:
        x: (..., I).
        weight: (O, I).
        bias: (O,).
    """
    if not _on_onednn(x, weight):
        return functional.linear(x, weight, bias)
    # Compilers cannot look into the operator when its weight may change; called directly it is quicker.
    return (_opaque if torch.compiler.is_compiling() else _onednn)(x, weight, bias)


def _on_onednn(x: Tensor, weight: Tensor) -> bool:
    return _ONEDNN and x.device.type == "cpu" and x.dtype is weight.dtype is torch.float32 and x.numel() > 0


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


_opaque = torch.library.custom_op("maetool::onednn_linear", _onednn, mutates_args=())


@_opaque.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.gelu = gelu
        bias = None if bias is None else bias.to(x.dtype)
        return product(functional.gelu(x) if gelu else x, weight.to(x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if _is_watched(grad):
            return *_by_autograd(ctx, grad, _plain_gelu if ctx.gelu else _plain, x, weight, _any_bias(weight)), None
        grad_x, *others = _gradients(grad, lambda: functional.gelu(x) if ctx.gelu else x, weight, ctx.needs_input_grad)
        if ctx.gelu and grad_x is not None:
            grad_x = torch.ops.aten.gelu_backward(grad_x, x)
        return grad_x, *others, None


class _NormLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, weight: Tensor, bias: Tensor | None, eps: float
    ) -> Tensor:
        normed, mean, rstd = torch.native_layer_norm(x, gamma.shape, gamma, beta, eps)
        ctx.save_for_backward(x, mean, rstd, gamma, beta, weight)
        ctx.eps, dtype = eps, autocast_dtype(x) or x.dtype
        return product(normed.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, rstd, gamma, beta, weight = ctx.saved_tensors
        *to_norm, to_weight, to_bias, _ = ctx.needs_input_grad

        def normed(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
            return torch.native_layer_norm(x, gamma.shape, gamma, beta, ctx.eps)[0].to(grad.dtype)

        if _is_watched(grad):
            inputs = (x, gamma, beta, weight, _any_bias(weight))
            return *_by_autograd(ctx, grad, lambda *v: _plain(normed(*v[:3]), *v[3:]), *inputs), None
        needed = (any(to_norm), to_weight, to_bias)
        grad_normed, *others = _gradients(grad, lambda: normed(x, gamma, beta), weight, needed)
        of_norm: tuple[Tensor | None, ...] = (None, None, None)
        if grad_normed is not None:
            of_norm = torch.ops.aten.native_layer_norm_backward(
                grad_normed.to(x.dtype), x, gamma.shape, mean, rstd, gamma, beta, to_norm
            )
        return *of_norm, *others, None


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, kept = _tokens_first(q, v.shape[3]), []
        for part, some_q, some_k, some_v in _parts(q, k, v):
            p = _probabilities(some_q, some_k)  # (b * h, M, N)
            out[part] = (p @ some_v).view_as(out[part])
            kept += [p] if _is_short(k) else []
        ctx.save_for_backward(q, k, v, *kept)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *kept = ctx.saved_tensors
        if _is_watched(grad):
            return _by_autograd(ctx, grad, _plain_attention, q, k, v)
        grads = [_tokens_first(value, value.shape[3]) for value in (q, k, v)]
        for number, (part, some_q, some_k, some_v, some_grad) in enumerate(_parts(q, k, v, grad)):
            p = kept[number] if kept else _probabilities(some_q, some_k)
            p_grad = some_grad @ some_v.transpose(1, 2)
            scores = torch.ops.aten._softmax_backward_data(p_grad, p, -1, p.dtype).mul_(q.shape[-1] ** -0.5)
            part_grads = (scores @ some_k, scores.transpose(1, 2) @ some_q, p.transpose(1, 2) @ some_grad)
            for into, value in zip(grads, part_grads, strict=True):
                into[part] = value.view_as(into[part])
        return tuple(grads)


def _gradients(
    grad: Tensor, x: Callable[[], Tensor], weight: Tensor, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of x (..., I), which is computed again, weight (O, I) and bias (O,), those `needed`."""
    to_x, to_weight, to_bias = needed[:3]
    flat = grad.reshape(-1, grad.shape[-1])  # (N, O)
    grad_x = grad_weight = grad_bias = None
    if to_weight:
        grad_weight = product(flat.t(), x().reshape(-1, weight.shape[1]).t()).to(weight.dtype)  # (O, I)
    if to_bias:
        grad_bias = flat.sum(dim=0, dtype=weight.dtype)
    if to_x:
        grad_x = product(flat, weight.to(grad.dtype).t()).unflatten(0, grad.shape[:-1])
    return grad_x, grad_weight, grad_bias


def _is_watched(grad: Tensor) -> bool:
    """Return whether a backward pass is itself differentiated (`create_graph`) or batched (`is_grads_batched`)."""
    if torch.compiler.is_compiling():
        return False
    return torch.is_grad_enabled() or _transformed() or torch._C._functorch.is_legacy_batchedtensor(grad)


def _by_autograd(ctx: Any, grad: Tensor, function: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients of `function(*inputs)`, which PyTorch's own operators compute, those that `ctx` needs."""
    needed, create_graph = ctx.needs_input_grad[: len(inputs)], torch.is_grad_enabled()
    with torch.enable_grad():
        # Views, because a tensor may come in as several inputs.
        views = [x.view_as(x).requires_grad_() if need else x for x, need in zip(inputs, needed, strict=True)]
        leaves = [view for view, need in zip(views, needed, strict=True) if need]
        grads = iter(torch.autograd.grad(function(*views), leaves, grad, create_graph=create_graph))
    return tuple(next(grads) if need else None for need in needed)


def _plain(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.linear(x, weight.to(x.dtype), bias.to(x.dtype))


def _plain_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _plain(functional.gelu(x), weight, bias)


def _plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    # PyTorch's kernel for CPUs can be differentiated only once and backwards, and computes a batch by vmap in a loop.
    return (q @ k.transpose(2, 3) * q.shape[-1] ** -0.5).softmax(dim=-1) @ v


def _any_bias(weight: Tensor) -> Tensor:
    return weight.new_zeros(weight.shape[0])  # whose gradient does not depend on its values


def _parts(*values: Tensor) -> Iterator[tuple[Any, ...]]:
    """Yield slices of the batch, and each value (B, h, X, d) there as (b * h, X, d)."""
    (batch, heads, queries, _), keys = values[0].shape, values[1].shape[2]
    size = max(1, _SCORES // max(1, heads * queries * keys))
    for start in range(0, batch, size):
        part = slice(start, start + size)
        yield part, *(value[part].flatten(0, 1) for value in values)


def _probabilities(q: Tensor, k: Tensor) -> Tensor:
    scores = torch.baddbmm(q.new_empty(1, 1, 1), q, k.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5)
    # PyTorch's kernel is slow on short rows of bfloat16; long ones would no longer fit into the cache as float32.
    return scores.softmax(dim=-1, dtype=torch.float32 if _is_short(k) else None).to(scores.dtype)


def _is_short(k: Tensor) -> bool:
    """Return whether there are so few keys (..., N, d) that probabilities take hardly more than queries and keys."""
    return k.shape[-2] <= 2 * k.shape[-1]


def _tokens_first(like: Tensor, width: int) -> Tensor:
    """Return an empty tensor (B, h, X, width) that lies in memory as (B, X, h, width), which the projections take."""
    batch, heads, tokens, _ = like.shape
    return like.new_empty(batch, tokens, heads, width).transpose(1, 2)
