"""The transformer block."""

from typing import Any

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops import cpu
from maetool.ops.patches import take_tokens
from maetool.ops.rotary import Rope

from .attention import Attention, Keep, QkvBias
from .calls import is_plain
from .drop_path import DropPath, DropPathRate, drop_path_rates
from .mlp import Mlp
from .norm import NormKind, norm_of


class LayerScale(nn.Module):
    """A learned factor for each channel, named as in timm.

    Source: Touvron et al., "Going deeper with image transformers" (2021).

    Args:
        embed_dim: D.
        start: of all factors.
    """

    def __init__(self, embed_dim: int, start: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((embed_dim,), start))

    def forward(self, x: Tensor) -> Tensor:
        """Scale x (..., D)."""
        return x * self.gamma


class Branches(nn.Module):
    """Base of the blocks of two branches, which layer scale and stochastic depth change as they are added."""

    def _add_branches(self, embed_dim: int, drop_path: float, layer_scale: float | None) -> None:
        """Add `ls1` and `ls2`, the factors of the channels, and `drop_path`; arguments as of `Block`."""
        scales = [nn.Identity() if layer_scale is None else LayerScale(embed_dim, layer_scale) for _ in range(2)]
        self.ls1, self.ls2 = scales
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()


class Block(Branches):
    """Pre-norm transformer block with timm's names, which can compute a subset of its output tokens.

    Args:
        embed_dim: D.
        num_heads: attention heads.
        mlp_ratio: width of the hidden layer over D.
        drop_path: share of the samples for which a branch is left out in training.
        layer_scale: where the factors of the two branches' channels begin; None, there are none.
        qkv_bias, qk_norm: see `Attention`.
        norm_layer: "layer", layer norm; or "rms", its form without mean and bias; see `norm_of`.
        bias: of the linear maps, but for the one of `qkv_bias`.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        qkv_bias: QkvBias = True,
        qk_norm: bool = False,
        norm_layer: NormKind = "layer",
        bias: bool = True,
    ) -> None:
        super().__init__()
        norm = norm_of(norm_layer)
        self._add_branches(embed_dim, drop_path, layer_scale)
        self.norm1, self.norm2 = norm(embed_dim), norm(embed_dim)
        self.attn = Attention(embed_dim, num_heads, qkv_bias, qk_norm, norm, bias)
        self.mlp = Mlp(embed_dim, int(embed_dim * mlp_ratio), bias)

    def forward(
        self, x: Tensor, ids: Tensor | None = None, keep: Keep | None = None, rope: Rope | None = None
    ) -> Tensor:
        """Return tokens (B, N, D) of x (B, N, D), or only those at `ids` (B, M) as (B, M, D): equal values, less work.

        All tokens give keys and values; queries, projection and hidden layer are computed for the returned ones.

        Args:
            x: (B, N, D).
            ids: of the tokens to return.
            keep: bool (B, N) or (B, N, N), False = this token does not see that one; or what finds it, see `Keep`.
            rope: rotary positions of x.
        """
        if ids is not None:
            x, attended = take_tokens(x, ids), self._attend_from(self.norm1(x), ids, keep, rope)
        elif keep is None and rope is None:
            attended = pre_norm(self.norm1, self.attn, x)
        else:
            attended = self.attn(self.norm1(x), keep=keep, rope=rope)
        x = x + self.drop_path(self.ls1(attended))
        return x + self.drop_path(self.ls2(pre_norm(self.norm2, self.mlp, x)))

    def probabilities(self, x: Tensor, keep: Keep | None = None, rope: Rope | None = None) -> Tensor:
        """Return how much each token attends to each, (B, heads, N, N), queries in rows.

        Args:
            x: (B, N, D).
            keep: bool (B, N) or (B, N, N), False = the query does not see this token.
            rope: rotary positions of x.
        """
        return self.attn.probabilities(self.norm1(x), keep, rope)

    def _attend_from(self, x: Tensor, ids: Tensor, keep: Keep | None, rope: Rope | None) -> Tensor:
        context: dict[str, Any] = {}
        if keep is not None or rope is not None:
            context = {"keep": keep, "rope": rope}
        if not isinstance(self.attn, Attention):
            return take_tokens(self.attn(x, **context), ids)  # what replaces it may know nothing of queries
        if isinstance(keep, Tensor) and keep.ndim == 3:
            context["keep"] = keep.gather(1, ids[..., None].expand(-1, -1, keep.shape[2]))
        if rope is not None:
            context["queries_rope"] = rope.take(ids)
        return self.attn(x, take_tokens(x, ids), **context)


def pre_norm(norm: nn.Module, branch: nn.Module, x: Tensor) -> Tensor:
    """Return `branch(norm(x))`, of x (..., D).

    On a CPU, where nothing watches or replaces them, the norm is left to the first linear map of the branch, so that
    its output is not kept for the backward pass.
    """
    kind = type(branch)
    if kind in (Attention, Mlp) and is_plain(branch, kind) and is_plain(norm, nn.LayerNorm) and cpu.takes(x):
        return branch(x, norm=norm)
    return branch(norm(x))


def transformer_blocks(
    embed_dim: int,
    depth: int,
    num_heads: int,
    mlp_ratio: float = 4.0,
    drop_path_rate: DropPathRate = 0.0,
    layer_scale: float | None = None,
    qkv_bias: QkvBias = True,
    qk_norm: bool = False,
    norm_layer: NormKind = "layer",
    bias: bool = True,
) -> nn.ModuleList:
    """Return `depth` pre-norm ViT blocks, their drop path rising linearly from 0 to `drop_path_rate`; see `Block`.

    Args:
        embed_dim, depth, num_heads: width, number of blocks, and heads of each block.
        drop_path_rate: the probability of the last block, in [0, 1); or those of the first and the last.
        mlp_ratio, layer_scale, qkv_bias, qk_norm, norm_layer, bias: see `Block`.

    Raises:
        UsageError: `embed_dim` is not a multiple of `num_heads`, or a choice that there is not.
    """
    check_heads(embed_dim, num_heads)
    if qkv_bias not in (True, False, "qv"):
        raise UsageError(f"qkv_bias is {qkv_bias!r}, but must be True, False or 'qv', of queries and values only.")
    rates = drop_path_rates(drop_path_rate, depth)
    options = (layer_scale, qkv_bias, qk_norm, norm_layer, bias)
    return nn.ModuleList(Block(embed_dim, num_heads, mlp_ratio, rate, *options) for rate in rates)


def check_heads(embed_dim: int, num_heads: int) -> None:
    """Check that a width divides into heads.

    Args:
        embed_dim: the width of the tokens.
        num_heads: the heads that share it.

    Raises:
        UsageError: it does not.
    """
    if embed_dim % num_heads:
        raise UsageError(f"embed_dim {embed_dim} does not divide into {num_heads} heads: use a multiple of num_heads.")
