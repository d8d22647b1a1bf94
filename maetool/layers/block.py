"""The transformer block."""

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops import cpu
from maetool.ops.patches import take_tokens

from .attention import Attention
from .calls import is_plain
from .drop_path import DropPath
from .mlp import Mlp
from .norm import LayerNorm


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


class Block(nn.Module):
    """Pre-norm transformer block with timm's names, which can compute only the tokens that somebody asks for.

    Args:
        embed_dim: D.
        num_heads: attention heads.
        mlp_ratio: width of the hidden layer over D.
        drop_path: share of the samples for which a branch is left out in training.
        layer_scale: where the factors of the two branches' channels begin; None, there are none.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        scales = [nn.Identity() if layer_scale is None else LayerScale(embed_dim, layer_scale) for _ in range(2)]
        self.ls1, self.ls2 = scales
        self.norm1, self.norm2 = LayerNorm(embed_dim), LayerNorm(embed_dim)
        self.attn = Attention(embed_dim, num_heads)
        self.mlp = Mlp(embed_dim, int(embed_dim * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, ids: Tensor | None = None) -> Tensor:
        """Return tokens (B, N, D) of x (B, N, D), or only those at `ids` (B, M) as (B, M, D): equal values, less work.

        All tokens give keys and values; queries, projection and hidden layer are computed for the returned ones.
        """
        if ids is None:
            attended = pre_norm(self.norm1, self.attn, x)
        else:
            x, attended = take_tokens(x, ids), self._attend_from(self.norm1(x), ids)
        x = x + self.drop_path(self.ls1(attended))
        return x + self.drop_path(self.ls2(pre_norm(self.norm2, self.mlp, x)))

    def _attend_from(self, x: Tensor, ids: Tensor) -> Tensor:
        if isinstance(self.attn, Attention):
            return self.attn(x, take_tokens(x, ids))
        return take_tokens(self.attn(x), ids)  # what replaces it may know nothing of queries


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
    drop_path_rate: float = 0.0,
    layer_scale: float | None = None,
) -> nn.ModuleList:
    """Return `depth` pre-norm ViT blocks, their drop path rising linearly from 0 to `drop_path_rate`.

    Raises:
        UsageError: `embed_dim` is not a multiple of `num_heads`.
    """
    check_heads(embed_dim, num_heads)
    rates = [drop_path_rate * i / max(1, depth - 1) for i in range(depth)]
    return nn.ModuleList(Block(embed_dim, num_heads, mlp_ratio, rate, layer_scale) for rate in rates)


def check_heads(embed_dim: int, num_heads: int) -> None:
    """Check that a width divides into heads.

    Raises:
        UsageError: it does not.
    """
    if embed_dim % num_heads:
        raise UsageError(f"embed_dim {embed_dim} does not divide into {num_heads} heads: take a multiple of num_heads.")
