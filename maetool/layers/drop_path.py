"""Stochastic depth."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maetool.errors import UsageError

DropPathRate = float | Sequence[float]


class DropPath(nn.Module):
    """Leaves a branch out for some samples in training, and scales it for the others, so that its mean stays.

    Source: Huang et al., "Deep networks with stochastic depth" (2016); the draws are those of timm's `DropPath`.

    Args:
        rate: share of the samples, from 0 to below 1.

    Raises:
        UsageError: another rate.
    """

    keep: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise UsageError(f"drop_path is {rate!r}, but must be a share from 0 to below 1.")
        self.rate = rate
        # Compiled code reads the rate from a tensor: a number would make it compile anew for every block.
        self.register_buffer("keep", torch.tensor(1.0 - rate, device="cpu"), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, ...), with some samples set to zero in training."""
        if not self.training:
            return x
        shape = (len(x), *[1] * (x.ndim - 1))
        if torch.compiler.is_compiling():
            return x * (torch.rand(shape, device=x.device) < self.keep).to(x.dtype).div(self.keep)
        return x * x.new_empty(shape).bernoulli_(1 - self.rate).div_(1 - self.rate)


def drop_path_rates(rate: DropPathRate, depth: int) -> list[float]:
    """Return the rate of each of `depth` blocks.

    Args:
        rate: of the last block, rising linearly from 0; or of the first and the last, such as (0.2, 0.2) for all alike.
        depth: number of blocks.

    Raises:
        UsageError: neither a number nor two.
    """
    ends = (0.0, rate) if isinstance(rate, int | float) else tuple(rate)
    if len(ends) != 2:
        raise UsageError(f"drop_path_rate is {rate!r}, but must be the rate of the last block, or of first and last.")
    first, last = ends
    return [first + (last - first) * i / max(1, depth - 1) for i in range(depth)]


def replace_drop_path(model: nn.Module, kind: type[nn.Module]) -> None:
    """Put `DropPath` in the place of every `kind`, another library's with a number `drop_prob`; the draws stay.

    Args:
        model: is changed in place.
        kind: the other library's class.
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, kind):
                rate: Any = child.drop_prob
                setattr(module, name, DropPath(rate))
