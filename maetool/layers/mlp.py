"""The hidden layer of the transformer block."""

from torch import Tensor, nn

from .linear import GeluLinear, Linear


class Mlp(nn.Module):
    """Two linear maps with a GELU between them, named as in timm.

    Args:
        embed_dim: D.
        hidden_dim: width between the maps.
    """

    def __init__(self, embed_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = Linear(embed_dim, hidden_dim)
        self.fc2 = GeluLinear(hidden_dim, embed_dim)

    def forward(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        """Map x (..., D), normalised by `norm` where there is one, to (..., D)."""
        return self.fc2(self.fc1(x, norm))
