"""Attention of the transformer block."""

from torch import Tensor, nn

from maetool.ops.attention import attention
from maetool.ops.linear import linear

from .linear import Linear


class Attention(nn.Module):
    """Multi-head attention with one map `qkv` for queries, keys and values, named as in timm.

    Args:
        embed_dim: D.
        num_heads: heads, each of D / num_heads channels.
    """

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Linear(embed_dim, 3 * embed_dim)
        self.proj = Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor, queries: Tensor | None = None, norm: nn.Module | None = None) -> Tensor:
        """Return what the queries (B, M, D) find among x (B, N, D), as (B, M, D).

        Without queries, x asks itself, normalised by `norm` where there is one.
        """
        if queries is None:
            q, k, v = self._heads(self.qkv(x, norm), 3)
        else:
            (to_q, to_kv), (q_bias, kv_bias) = (p.tensor_split([x.shape[2]]) for p in (self.qkv.weight, self.qkv.bias))
            (q,) = self._heads(linear(queries, to_q, q_bias), 1)
            k, v = self._heads(linear(x, to_kv, kv_bias), 2)
        return self.proj(attention(q, k, v).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor, number: int) -> tuple[Tensor, ...]:
        """Split (B, N, number * D) into `number` tensors (B, heads, N, d)."""
        return x.unflatten(2, (number, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
