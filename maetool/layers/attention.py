"""Attention of the transformer block, and over other tokens."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.ops.cpu import attention, linear
from maetool.ops.rotary import Rope

from .calls import call_linear, call_norm_linear, is_plain
from .norm import LayerNorm

QkvBias = bool | Literal["qv"]
# Which tokens a query sees: bool (B, N) or (B, M, N), or a function of queries and keys that returns (B, heads, M, N).
Keep = Tensor | Callable[[Tensor, Tensor], Tensor]


class NearestKeys:
    """Lets each query see only the keys with which it has the largest products, in each head; for `keep`.

    Source: the homologous attention of MixedAE (Chen et al., 2023).

    Args:
        number: of keys; of fewer, all are seen.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    @torch.no_grad()
    def __call__(self, q: Tensor, k: Tensor) -> Tensor:
        """Return bool (B, h, M, N), True where a query of q (B, h, M, d) sees a key of k (B, h, N, d)."""
        products = q @ k.transpose(2, 3)  # (B, h, M, N)
        nearest = products.topk(min(self.number, k.shape[2]), dim=-1).indices
        return torch.zeros_like(products, dtype=torch.bool).scatter(3, nearest, True)


class Attention(nn.Module):
    """Multi-head attention with one map `qkv` for queries, keys and values, named as in timm.

    Args:
        embed_dim: D.
        num_heads: heads, each of D / num_heads channels.
        qkv_bias: True; False; or "qv", a bias `q_bias` of queries and `v_bias` of values but none of keys (BEiT,
            VideoMAE).
        qk_norm: normalise the queries and keys of each head.
        norm_layer: of what kind the norms of `qk_norm` are.
        bias: of the map that follows the attention.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        qkv_bias: QkvBias = True,
        qk_norm: bool = False,
        norm_layer: Callable[[int], nn.Module] = LayerNorm,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=qkv_bias is True)
        self.proj = nn.Linear(embed_dim, embed_dim, bias=bias)
        biases = [nn.Parameter(torch.zeros(embed_dim)) if qkv_bias == "qv" else None for _ in range(2)]
        self.q_bias, self.v_bias = biases
        head_dim = embed_dim // num_heads
        self.q_norm, self.k_norm = (norm_layer(head_dim) if qk_norm else None for _ in range(2))

    def forward(
        self,
        x: Tensor,
        queries: Tensor | None = None,
        norm: nn.Module | None = None,
        keep: Keep | None = None,
        rope: Rope | None = None,
        queries_rope: Rope | None = None,
    ) -> Tensor:
        """Return what the queries (B, M, D) find among x (B, N, D), as (B, M, D).

        Args:
            x: (B, N, D).
            queries: (B, M, D); None, x asks itself.
            norm: what x passes first, where it asks itself.
            keep: bool (B, N) or (B, M, N), False = the query does not see this token; or what finds it, see `Keep`.
            rope: rotary positions of x.
            queries_rope: those of the queries; by default of x.
        """
        if queries is None:
            q, k, v = self._heads(call_norm_linear(norm, self.qkv, x), 3)
        else:
            queries, pairs = self._apart(queries, x)
            (q,), (k, v) = self._heads(queries, 1), self._heads(pairs, 2)
        q, k, v = self._placed(q, k, v, rope, queries_rope)
        return call_linear(self.proj, attend(q, k, v, keep).transpose(1, 2).flatten(2))

    def probabilities(self, x: Tensor, keep: Keep | None = None, rope: Rope | None = None) -> Tensor:
        """Return how much each token attends to each, (B, heads, N, N), queries in rows.

        Args:
            x: (B, N, D).
            keep: as in `forward`.
            rope: rotary positions of x.
        """
        q, k, v = self._heads(call_linear(self.qkv, x), 3)
        q, k, _ = self._placed(q, k, v, rope, None)
        scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
        if keep is not None:
            scores = scores.masked_fill(~_for_heads(keep, q, k), float("-inf"))
        return scores.float().softmax(dim=-1)

    def _placed(
        self, q: Tensor, k: Tensor, v: Tensor, rope: Rope | None, queries_rope: Rope | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values (B, heads, N, d) with their biases, norms and rotary positions."""
        if self.q_bias is not None and self.v_bias is not None:
            q, v = (
                value + bias.view(self.num_heads, 1, -1).to(value.dtype)
                for value, bias in ((q, self.q_bias), (v, self.v_bias))
            )
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)
        if rope is not None:
            q, k = (queries_rope or rope).turn(q), rope.turn(k)
        return q, k, v

    def _apart(self, queries: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the queries (B, M, D) of one input, and keys and values (B, N, 2 D) of the other."""
        width = queries.shape[2]
        if not is_plain(self.qkv, nn.Linear):
            return self.qkv(queries)[..., :width], self.qkv(x)[..., width:]
        to_q, to_kv = self.qkv.weight.tensor_split([width])
        q_bias, kv_bias = (None, None) if self.qkv.bias is None else self.qkv.bias.tensor_split([width])
        return linear(queries, to_q, q_bias), linear(x, to_kv, kv_bias)

    def _heads(self, x: Tensor, number: int) -> tuple[Tensor, ...]:
        """Split (B, N, number * D) into `number` tensors (B, heads, N, d)."""
        return x.unflatten(2, (number, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


class CrossAttention(nn.Module):
    """Multi-head attention of queries over other tokens.

    Args:
        embed_dim: E, of the queries.
        memory_dim: D, of the tokens that are asked.
        num_heads: heads, each of E / num_heads channels.
        bias: of all maps.
    """

    def __init__(self, embed_dim: int, memory_dim: int, num_heads: int, bias: bool = True) -> None:
        super().__init__()
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.q = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.kv = nn.Linear(memory_dim, 2 * embed_dim, bias=bias)
        self.proj = nn.Linear(embed_dim, embed_dim, bias=bias)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        keep: Tensor | None = None,
        rope: Rope | None = None,
        memory_rope: Rope | None = None,
        values: Tensor | None = None,
    ) -> Tensor:
        """Return what x (B, M, E) finds among memory (B, N, D), as (B, M, E).

        Args:
            x: (B, M, E).
            memory: (B, N, D).
            keep: bool (B, N) or (B, M, N), False = the query does not see this token.
            rope: rotary positions of x.
            memory_rope: those of the memory.
            values: (B, N, D), what the tokens of the memory say; None, the memory itself.
        """
        q = call_linear(self.q, x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, M, d)
        pairs = call_linear(self.kv, memory) if values is None else self._apart(memory, values)  # (B, N, 2 E)
        k, v = pairs.unflatten(2, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = (q if rope is None else rope.turn(q)), (k if memory_rope is None else memory_rope.turn(k))
        return call_linear(self.proj, attend(q, k, v, keep).transpose(1, 2).flatten(2))

    def _apart(self, memory: Tensor, values: Tensor) -> Tensor:
        """Return keys of the memory and values of `values`, both (B, N, D), as (B, N, 2 E)."""
        width = self.embed_dim
        if not is_plain(self.kv, nn.Linear):
            return torch.cat([self.kv(memory)[..., :width], self.kv(values)[..., width:]], dim=-1)
        to_k, to_v = self.kv.weight.tensor_split([width])
        k_bias, v_bias = (None, None) if self.kv.bias is None else self.kv.bias.tensor_split([width])
        return torch.cat([linear(memory, to_k, k_bias), linear(values, to_v, v_bias)], dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, keep: Keep | None = None) -> Tensor:
    """Return the attention (B, h, M, e) of queries (B, h, M, d) over keys (B, h, N, d) and values (B, h, N, e).

    Args:
        q, k, v: queries, keys and values.
        keep: bool (B, N) or (B, M, N), False = hidden from the query; each query must see something. Or a function of
            q and k that returns it for each head, (B, h, M, N), such as `NearestKeys`.
    """
    if keep is None:
        return attention(q, k, v)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=_for_heads(keep, q, k))


def _for_heads(keep: Keep, q: Tensor, k: Tensor) -> Tensor:
    """Return bool (B, N) or (B, M, N) as (B, 1, 1, N) or (B, 1, M, N), and what a function gives."""
    if not isinstance(keep, Tensor):
        return keep(q, k)
    return keep[:, None, None] if keep.ndim == 2 else keep[:, None]
