"""Attention probabilities of a block of another library."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from maetool.errors import UsageError


class _Watch(TorchFunctionMode):
    """Notes the probabilities of every attention that is computed, by PyTorch's kernel or by a softmax of scores."""

    def __init__(self) -> None:
        super().__init__()
        self.probabilities: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func is functional.scaled_dot_product_attention:
            mask = args[3] if len(args) > 3 else kwargs.get("attn_mask")
            self.probabilities.append(_probabilities(args[0], args[1], mask, kwargs.get("scale")))
        elif func in (torch.Tensor.softmax, torch.softmax, functional.softmax):
            self.probabilities.append(out)
        return out


def _probabilities(q: Tensor, k: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype is torch.bool else scores + mask
    return scores.float().softmax(dim=-1)


def attention_in(block: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return how much each token of x (B, N, D) attends to each in a block, (B, heads, N, N), queries in rows.

    Raises:
        UsageError: it computes none, or several.
    """
    watch = _Watch()
    with watch:
        block(x)
    matches = [p for p in watch.probabilities if p.ndim == 4 and p.shape[2:] == (x.shape[1], x.shape[1])]
    if len(matches) != 1:
        raise UsageError(
            f"A block attends {len(matches)} times among all tokens, but must do so once: use VisionTransformer."
        )
    return matches[0]
