"""The transformer decoder of MAE."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from maetool.annotations import Count, FromZero, Positive
from maetool.errors import UsageError
from maetool.layers import LayerNorm, call_linear, init_as_mae, run_blocks_at, transformer_blocks
from maetool.ops.geometry import to_size
from maetool.ops.pos_embed import positions_on, sincos_pos_embed
from maetool.positions import keep_positions
from maetool.registry import DECODERS
from maetool.structures import MaskPlan


@DECODERS.register_module()
class TransformerDecoder(nn.Module):
    """Self-attention over visible tokens and mask tokens; the last block only where a prediction is asked for.

    Source: MAE, section 3; behaviour of `models_mae.py` (facebookresearch/mae).

    Args:
        encoder_dim: D.
        out_dim: P, numbers to predict for each patch.
        grid: (h, w), or one number, the grid that is trained on. Other grids work too.
        num_prefix_tokens: T; the prefix takes part in the attention.
        embed_dim: E.
        depth: number of blocks.
        num_heads: attention heads of a block.
        mlp_ratio: width of a block's hidden layer over E.
        drop_path_rate: drop path of the last block; it rises linearly from 0.
        predict_prefix: predict the prefix too, whose predictions come first; the target must give it (dBOT).
        pos_embed: "sincos", fixed, or "learned"; both are resized for another grid.

    Attributes:
        predicted_prefix: tokens of the prefix that are predicted, T or 0.

    Raises:
        UsageError: sizes that do not divide, a choice that there is not, or a prefix to predict where there is none.
    """

    reads = ("visible",)
    pos_embed: Tensor  # a parameter if it is learned, else a buffer
    pred: nn.Module

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        grid: int | Sequence[int],
        num_prefix_tokens: int = 1,
        embed_dim: Count = 512,
        depth: FromZero = 8,
        num_heads: Count = 16,
        mlp_ratio: Positive = 4.0,
        pos_embed: Literal["sincos", "learned"] = "sincos",
        drop_path_rate: float = 0.0,
        predict_prefix: bool = False,
    ) -> None:
        super().__init__()
        if predict_prefix and not num_prefix_tokens:
            raise UsageError("predict_prefix is True, but the encoder has no class token to predict: set it to False.")
        self.predicted_prefix = num_prefix_tokens if predict_prefix else 0
        if pos_embed not in ("sincos", "learned"):
            raise UsageError(f"pos_embed is {pos_embed!r}, but must be 'sincos' or 'learned'.")
        self.embed_dim, self.grid, self.num_prefix_tokens = embed_dim, to_size(grid, "grid"), num_prefix_tokens
        self.embed = nn.Linear(encoder_dim, embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        keep_positions(self, sincos_pos_embed(embed_dim, self.grid, num_prefix_tokens), pos_embed == "learned")
        self.blocks = transformer_blocks(embed_dim, depth, num_heads, mlp_ratio, drop_path_rate)
        self.norm = LayerNorm(embed_dim)
        self.pred = nn.Linear(embed_dim, out_dim)
        init_as_mae(self)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {"embed_dim": 16 * arguments["num_heads"], "depth": 2}

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay: learned positions. MAE decays the mask token."""
        return {"pos_embed"} if isinstance(self.pos_embed, nn.Parameter) else set()

    def forward(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict` from tokens (B, T + V, D).

        With `predict_prefix` they are (B, T + M, P), those of the prefix first.
        """
        return call_linear(self.pred, self.decode(latent, plan, plan.ids_predict, self.predicted_prefix))

    def decode(self, latent: Tensor, plan: MaskPlan, ids: Tensor, prefix: int = 0) -> Tensor:
        """Return the normalised tokens (B, M, E) of the patches `ids` (B, M) from tokens (B, T + V, D).

        The first `prefix` tokens of the prefix come before them.
        """
        x = call_linear(self.embed, latent)  # (B, T + V, E)
        x = plan.restore(x, self.mask_token, self.num_prefix_tokens)  # (B, T + L, E)
        x = x + positions_on(self.pos_embed, self.grid, plan.grid, self.num_prefix_tokens)
        ids = ids + self.num_prefix_tokens
        if prefix:
            ids = torch.cat([torch.arange(prefix, device=x.device).expand(len(x), -1), ids], dim=1)
        return self.norm(run_blocks_at(self.blocks, x, ids))  # (B, prefix + M, E)
