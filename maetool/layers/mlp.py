"""The hidden layer of the transformer block."""

from torch import Tensor, nn

from .calls import call_gelu_linear, call_norm_linear


class Mlp(nn.Module):
    """Two linear maps with a GELU between them, named as in timm.

    Args:
        embed_dim: D.
        hidden_dim: width between the maps.
        bias: of both maps.
    """

    def __init__(self, embed_dim: int, hidden_dim: int, bias: bool = True) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_dim, bias=bias)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, embed_dim, bias=bias)

    def forward(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        """Map x (..., D), normalised by `norm` where there is one, to (..., D)."""
        return call_gelu_linear(self.act, self.fc2, call_norm_linear(norm, self.fc1, x))
