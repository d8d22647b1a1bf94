"""Attention of the transformer block."""

from torch import Tensor, nn

from maetool.ops.cpu import attention, linear

from .calls import call_linear, call_norm_linear, is_plain


class Attention(nn.Module):
    """Multi-head attention with one map `qkv` for queries, keys and values, named as in timm.

    Args:
        embed_dim: D.
        num_heads: heads, each of D / num_heads channels.
    """

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor, queries: Tensor | None = None, norm: nn.Module | None = None) -> Tensor:
        """Return what the queries (B, M, D) find among x (B, N, D), as (B, M, D).

        Without queries, x asks itself, normalised by `norm` where there is one.
        """
        if queries is None:
            q, k, v = self._heads(call_norm_linear(norm, self.qkv, x), 3)
        else:
            queries, pairs = self._apart(queries, x)
            (q,), (k, v) = self._heads(queries, 1), self._heads(pairs, 2)
        return call_linear(self.proj, attention(q, k, v).transpose(1, 2).flatten(2))

    def _apart(self, queries: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the queries (B, M, D) of one input, and keys and values (B, N, 2 D) of the other."""
        width = queries.shape[2]
        if not is_plain(self.qkv, nn.Linear) or self.qkv.bias is None:
            return self.qkv(queries)[..., :width], self.qkv(x)[..., width:]
        (to_q, to_kv), (q_bias, kv_bias) = (p.tensor_split([width]) for p in (self.qkv.weight, self.qkv.bias))
        return linear(queries, to_q, q_bias), linear(x, to_kv, kv_bias)

    def _heads(self, x: Tensor, number: int) -> tuple[Tensor, ...]:
        """Split (B, N, number * D) into `number` tensors (B, heads, N, d)."""
        return x.unflatten(2, (number, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
