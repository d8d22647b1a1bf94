"""The transformer decoder of MAE."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.layers import LayerNorm, Linear, init_as_mae, run_blocks_at, transformer_blocks
from maetool.ops.pos_embed import positions_on, sincos_pos_embed
from maetool.registry import DECODERS
from maetool.structures import MaskPlan


@DECODERS.register_module()
class TransformerDecoder(nn.Module):
    """Self-attention over visible tokens and mask tokens; the last block only where a prediction is asked for.

    Source: MAE, section 3; behaviour of `models_mae.py` (facebookresearch/mae).

    Args:
        encoder_dim: D.
        out_dim: P, numbers to predict for each patch.
        grid: (h, w), the grid that is trained on. Other grids work too.
        num_prefix_tokens: T; the prefix takes part in the attention.
        embed_dim: E.
        depth: number of blocks.
        num_heads: attention heads of a block.
        mlp_ratio: width of a block's hidden layer over E.
        pos_embed: "sincos", fixed and computed anew for another grid, or "learned", resized for another grid: for
            checkpoints of other projects whose table is another.

    Raises:
        UsageError: sizes that do not divide, or a choice that there is not.
    """

    reads = ("visible",)

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        grid: Sequence[int],
        num_prefix_tokens: int = 1,
        embed_dim: int = 512,
        depth: int = 8,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        pos_embed: Literal["sincos", "learned"] = "sincos",
    ) -> None:
        super().__init__()
        if pos_embed not in ("sincos", "learned"):
            raise UsageError(f"pos_embed is {pos_embed!r}, but must be 'sincos' or 'learned'.")
        self.embed_dim, self.grid, self.num_prefix_tokens = embed_dim, tuple(grid), num_prefix_tokens
        self.embed = Linear(encoder_dim, embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.learns_positions = pos_embed == "learned"
        table = sincos_pos_embed(embed_dim, grid, num_prefix_tokens)
        if self.learns_positions:
            self.pos_embed = nn.Parameter(table)
        else:  # not in the state dict: it is a fact of the grid, not something learned
            self.register_buffer("pos_embed", table, persistent=False)
        self.blocks = transformer_blocks(embed_dim, depth, num_heads, mlp_ratio)
        self.norm = LayerNorm(embed_dim)
        self.pred = Linear(embed_dim, out_dim)
        init_as_mae(self)

    def forward(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict` from tokens (B, T + V, D)."""
        return self.pred(self.decode(latent, plan, plan.ids_predict))  # (B, M, P)

    def decode(self, latent: Tensor, plan: MaskPlan, ids: Tensor) -> Tensor:
        """Return the normalised tokens (B, M, E) of the patches `ids` (B, M) from tokens (B, T + V, D)."""
        x = self.embed(latent)  # (B, T + V, E)
        x = plan.restore(x, self.mask_token, self.num_prefix_tokens)  # (B, T + L, E)
        x = x + positions_on(self.pos_embed, self.grid, plan.grid, self.num_prefix_tokens, self.learns_positions)
        return self.norm(run_blocks_at(self.blocks, x, ids + self.num_prefix_tokens))  # (B, M, E)
