"""The decoder of CrossMAE: predicted patches ask the encoder's tokens, and nothing else is computed."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import pad

from maetool.annotations import Count, FromZero, Positive
from maetool.layers import (
    CrossAttention,
    LayerNorm,
    Mlp,
    call_linear,
    check_heads,
    find_layers,
    init_as_mae,
    mix_layers,
    pre_norm,
)
from maetool.ops.geometry import rank_of, to_size
from maetool.ops.pos_embed import positions_on, sincos_pos_embed
from maetool.positions import keep_positions
from maetool.registry import DECODERS
from maetool.structures import MaskPlan


class CrossBlock(nn.Module):
    """Pre-norm block of cross-attention and a hidden layer; predicted patches never see each other.

    Args:
        embed_dim: E.
        memory_dim: D.
        num_heads: attention heads.
        mlp_ratio: width of the hidden layer over E.
    """

    def __init__(self, embed_dim: int, memory_dim: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(embed_dim), LayerNorm(embed_dim)
        self.memory_norm = LayerNorm(memory_dim)
        self.cross_attn = CrossAttention(embed_dim, memory_dim, num_heads)
        self.mlp = Mlp(embed_dim, int(embed_dim * mlp_ratio))

    def forward(self, x: Tensor, memory: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return x (B, M, E) after asking memory (B, N, D), but for what is padding, `keep` (B, N) False."""
        x = x + self.cross_attn(self.norm1(x), self.memory_norm(memory), keep)
        return x + pre_norm(self.norm2, self.mlp, x)


@DECODERS.register_module()
class CrossAttentionDecoder(nn.Module):
    """Cross-attention from predicted patches to tokens of the encoder, each block to its own mixture of layers.

    Only the predicted patches are computed, so fewer of them cost less (`predict_ratio` of the masker). The encoder's
    raw tokens are read, the prefix included: build it with `final_norm=False`.
    Source: CrossMAE, sections 3.2 to 3.4; behaviour of `models_cross.py` (TonyLianLong/CrossMAE).

    Args:
        encoder_dim: D.
        out_dim: P, numbers to predict for each patch.
        grid: such as (h, w), or one number for a square: the grid that is trained on. Other grids work too.
        num_layers: blocks of the encoder.
        layers: which of its layers are mixed, 0 being what enters the first block; by default all of them.
        embed_dim: E.
        depth: number of blocks.
        num_heads: attention heads of a block.
        mlp_ratio: width of a block's hidden layer over E.
        encoder: the encoder, of which only `sees` is asked.

    Raises:
        UsageError: sizes that do not divide, or layers that there are not.
    """

    reads = ("visible", "all", "blank")
    any_stride = True
    layers: Sequence[int] = ()
    pos_embed: Tensor

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        grid: int | Sequence[int],
        num_layers: int,
        layers: Sequence[int] | None = None,
        embed_dim: Count = 512,
        depth: FromZero = 12,
        num_heads: Count = 16,
        mlp_ratio: Positive = 4.0,
        encoder: Any = None,
    ) -> None:
        super().__init__()
        check_heads(embed_dim, num_heads)
        self.reads_all = getattr(encoder, "sees", "visible") == "all"
        self.embed_dim, self.grid = embed_dim, to_size(grid, "grid", rank_of(grid))
        self.layers = find_layers(range(num_layers + 1) if layers is None else layers, num_layers)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        keep_positions(self, sincos_pos_embed(embed_dim, self.grid))
        self.mix = nn.Linear(len(self.layers), depth, bias=False)
        self.blocks = nn.ModuleList(CrossBlock(embed_dim, encoder_dim, num_heads, mlp_ratio) for _ in range(depth))
        self.norm = LayerNorm(embed_dim)
        self.pred = nn.Linear(embed_dim, out_dim)
        init_as_mae(self)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        layers = arguments["layers"]
        small = {} if layers is None else {"layers": [min(layer, 2) for layer in layers]}
        return {"embed_dim": 16 * arguments["num_heads"], "depth": 2, **small}

    def forward(self, latent: Sequence[Tensor], plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict`.

        Args:
            latent: the tokens (B, N, D) of each of `layers`, prefix first.
            plan: of the batch.
        """
        memories = self.mixtures(latent)  # depth x (B, N, D)
        table = positions_on(self.pos_embed, self.grid, plan.grid)[0]  # (L, E)
        x = functional.embedding(plan.ids_predict, table) + self.mask_token  # (B, M, E)
        keep = None
        if plan.keep_valid is not None and not self.reads_all:  # what comes before the patches is the prefix
            keep = pad(plan.keep_valid, (latent[0].shape[1] - plan.num_keep, 0), value=True)
        for block, memory in zip(self.blocks, memories, strict=True):
            x = block(x, memory, keep)
        return call_linear(self.pred, self.norm(x))  # (B, M, P)

    def mixtures(self, latent: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return for each block the weighted sum (B, N, D) of layers whose tokens it attends to.

        Args:
            latent: the tokens (B, N, D) of each of `layers`.
        """
        return mix_layers(self.mix, latent)
