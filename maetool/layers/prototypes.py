"""Similarities of tokens to learned prototypes."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.errors import UsageError

Lengths = Literal["unit", "learned", "free"]


class Prototypes(nn.Module):
    """A linear map of tokens of length 1, whose rows are the prototypes.

    Args:
        embed_dim: D.
        number: K, of prototypes.
        lengths: of the rows: "unit", 1, so that the outputs are cosines (MSN, DINO); "learned", a number of each row
            that begins at 1 (CAPI's student); or "free", as they are drawn and learned, with a bias (CAPI's clusters).

    Raises:
        UsageError: an unknown choice.
    """

    length: nn.Parameter | None

    def __init__(self, embed_dim: int, number: int, lengths: Lengths = "unit") -> None:
        super().__init__()
        if lengths not in ("unit", "learned", "free"):
            raise UsageError(f'lengths is {lengths!r}, but must be "unit", "learned" or "free".')
        self.lengths = lengths
        self.weight = nn.Parameter(torch.randn(number, embed_dim))
        self.length = nn.Parameter(torch.ones(number, 1)) if lengths == "learned" else None
        self.bias = nn.Parameter(torch.zeros(number)) if lengths == "free" else None
        if lengths != "free":
            nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Return the similarities (..., K) of tokens x (..., D)."""
        x = functional.normalize(x, dim=-1)
        weight: Tensor = self.weight
        if self.lengths != "free":
            weight = functional.normalize(weight, dim=-1)
        weight = weight if self.length is None else weight * self.length
        return functional.linear(x, weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))
