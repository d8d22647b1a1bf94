"""From tokens to the space in which they are compared with others."""

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from maetool.errors import UsageError

from .prototypes import Lengths, Prototypes


class Projector(nn.Module):
    """Linear maps with a GELU after all but the last, and perhaps similarities to prototypes.

    Source: MSN's head, with batch norm (facebookresearch/msn, `src/msn_train.py`); DINO's and iBOT's, with a bottleneck
    and prototypes.

    Args:
        embed_dim: D.
        out_dim: P.
        hidden_dim: width between the maps.
        depth: number of linear maps.
        norm: "batch", a batch norm after each map but the last, over all tokens; or "none".
        bottleneck: width of the last map, of which the outputs are the cosines to P prototypes; None, there are none.
        lengths: of the prototypes, see `maetool.layers.Prototypes`; "learned" ones scale the cosines.

    Raises:
        UsageError: no map, or an unknown norm.
    """

    def __init__(
        self,
        embed_dim: int,
        out_dim: int,
        hidden_dim: int = 2048,
        depth: int = 3,
        norm: Literal["none", "batch"] = "none",
        bottleneck: int | None = None,
        lengths: Lengths = "unit",
    ) -> None:
        super().__init__()
        if depth < 1 or norm not in ("none", "batch"):
            raise UsageError(f'depth is {depth!r} and norm {norm!r}, but must be at least 1, and "none" or "batch".')
        widths = [embed_dim, *[hidden_dim] * (depth - 1), bottleneck or out_dim]
        self.mlp = nn.Sequential()
        for number, (before, after) in enumerate(pairwise(widths), start=1):
            self.mlp.add_module(f"fc{number}", nn.Linear(before, after))
            if number < depth:
                self.mlp.add_module(f"bn{number}", nn.BatchNorm1d(after) if norm == "batch" else nn.Identity())
                self.mlp.add_module(f"act{number}", nn.GELU())
        self.prototypes = Prototypes(bottleneck, out_dim, lengths) if bottleneck else None
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, M, P) of tokens (B, M, D)."""
        x = self.mlp(tokens.flatten(0, -2)).unflatten(0, tokens.shape[:-1])
        return x if self.prototypes is None else self.prototypes(functional.normalize(x, dim=-1))
