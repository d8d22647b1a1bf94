"""Scaled dot-product attention."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Scores that are computed at once on a CPU: few enough to stay in its cache until they are used.
_SCORES = 3 * 2**19
# Above this many scores of one image they no longer fit, and PyTorch's kernel, which never stores them, is better.
_MOST_SCORES = 2**25


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return the attention (B, h, M, e) of queries (B, h, M, d) over keys (B, h, N, d) and values (B, h, N, e).

    It is `scaled_dot_product_attention`, and on a CPU the same with matrix products, some images at a time.
    Probabilities over few keys, such as visible patches, are kept for the backward pass, others computed again there.
    PyTorch's kernel took three times as long for the sequence lengths of images (197 tokens), most of it in its
    backward pass.
    """
    if q.device.type != "cpu" or torch.compiler.is_exporting() or q.shape[1] * q.shape[2] * k.shape[2] > _MOST_SCORES:
        return functional.scaled_dot_product_attention(q, k, v)
    return _Attention.apply(q, k, v)


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
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        q, k, v, *kept = ctx.saved_tensors
        grads = [_tokens_first(value, value.shape[3]) for value in (q, k, v)]
        for number, (part, some_q, some_k, some_v, some_grad) in enumerate(_parts(q, k, v, grad)):
            p = kept[number] if kept else _probabilities(some_q, some_k)
            p_grad = some_grad @ some_v.transpose(1, 2)
            scores = torch.ops.aten._softmax_backward_data(p_grad, p, -1, p.dtype).mul_(q.shape[-1] ** -0.5)
            found = (scores @ some_k, scores.transpose(1, 2) @ some_q, p.transpose(1, 2) @ some_grad)
            for into, value in zip(grads, found, strict=True):
                into[part] = value.view_as(into[part])
        return tuple(grads)


def _parts(*values: Tensor) -> Iterator[tuple[Any, ...]]:
    """Yield slices of the batch, and each value (B, h, X, d) there as (b * h, X, d)."""
    (batch, heads, queries, _), keys = values[0].shape, values[1].shape[2]
    size = max(1, _SCORES // (heads * queries * keys))
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
