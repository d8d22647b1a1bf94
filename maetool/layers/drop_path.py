"""Stochastic depth."""

from typing import Any

import torch
from torch import Tensor, nn

from maetool.errors import UsageError


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
