"""A decoder whose mask tokens ask the visible tokens and each other, and become tokens like the encoder's."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from maetool.annotations import Count, FromZero, Positive
from maetool.errors import UsageError
from maetool.layers import CrossAttention, LayerNorm, Mlp, call_linear, check_heads, init_as_mae
from maetool.layers.block import Branches
from maetool.layers.drop_path import DropPathRate, drop_path_rates
from maetool.layers.positions import ROTARY, PosEmbed, positions_at
from maetool.ops.patches import take_tokens
from maetool.registry import DECODERS
from maetool.structures import MaskPlan

from .places import PlacedDecoder, check_no_groups, check_prefix


class RegressorBlock(Branches):
    """Cross-attention over the visible tokens and the queries themselves, then a hidden layer.

    Queries, keys and values have a norm each; positions are added to queries and keys only. The residual of the hidden
    layer is its normalised input.

    Args:
        embed_dim: D.
        num_heads: attention heads.
        mlp_ratio: width of the hidden layer over D.
        drop_path: share of the samples for which a branch is left out in training.
        layer_scale: where the factors of the two branches' channels begin; None, there are none.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, mlp_ratio: float, drop_path: float, layer_scale: float | None
    ) -> None:
        super().__init__()
        self.norm_q, self.norm_k, self.norm_v, self.norm2 = (LayerNorm(embed_dim) for _ in range(4))
        self.cross_attn = CrossAttention(embed_dim, embed_dim, num_heads)
        self.mlp = Mlp(embed_dim, int(embed_dim * mlp_ratio))
        self._add_branches(embed_dim, drop_path, layer_scale)

    def forward(self, x: Tensor, seen: Tensor, places: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return the queries x (B, M, D) after the block.

        Args:
            x: (B, M, D).
            seen: tokens (B, V, D), asked beside x.
            places: positions (B, V + M, D) of both.
            keep: bool (B, V + M), False = padding.
        """
        memory = torch.cat([seen, x], dim=1)
        queries, keys = self.norm_q(x + places[:, seen.shape[1] :]), self.norm_k(memory + places)
        found = self.cross_attn(queries, keys, keep, values=self.norm_v(memory))
        x = self.norm2(x + self.drop_path(self.ls1(found)))
        return x + self.drop_path(self.ls2(self.mlp(x)))


@DECODERS.register_module()
class RegressorDecoder(PlacedDecoder):
    """Mask tokens of the predicted patches ask the visible patches and each other, as wide as the encoder.

    Without a map at the end it predicts tokens of the encoder's own kind, from which a task with `reads="main"` can
    predict more. The prefix is not read. Source: CAE's latent contextual regressor (Atten4Vis/CAE,
    `models/modeling_cae_helper.py`).

    Args:
        encoder_dim: D.
        out_dim: P, numbers to predict for each patch.
        grid: such as (h, w), or one number for a square: the grid that is trained on. Other grids work too.
        num_prefix_tokens: T.
        depth: number of blocks.
        num_heads: attention heads of a block.
        mlp_ratio: width of a block's hidden layer over D.
        drop_path_rate: drop path of the last block, rising linearly from 0; or of the first and the last.
        layer_scale: where learned factors of the channels of each branch begin; None, there are none.
        pos_embed: a table that is added, see `maetool.layers.positions.add_positions`.
        output: end with a linear map to P; without it P must be D, and the normalised tokens are the predictions.
        visible: a visible patch that is to be predicted too is not asked for: its own token goes through norm and map
            (CAE v2).
        predict_prefix: predict the prefix too, whose predictions come first; the target must give it (CAE v2).

    Attributes:
        predicted_prefix: tokens of the prefix that are predicted, T or 0.

    Raises:
        UsageError: sizes that do not divide, positions that are no table, another P than D without a map, or no prefix
            to predict.
    """

    reads = ("visible", "blank")

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        grid: int | Sequence[int],
        num_prefix_tokens: int = 1,
        depth: FromZero = 4,
        num_heads: Count = 12,
        mlp_ratio: Positive = 4.0,
        drop_path_rate: DropPathRate = 0.0,
        layer_scale: float | None = None,
        pos_embed: PosEmbed = "sincos",
        output: bool = True,
        visible: bool = False,
        predict_prefix: bool = False,
    ) -> None:
        super().__init__()
        check_heads(encoder_dim, num_heads)
        check_prefix(num_prefix_tokens, predict_prefix)
        self.visible, self.predicted_prefix = visible, num_prefix_tokens if predict_prefix else 0
        if pos_embed in (*ROTARY, "none"):
            raise UsageError(
                f"pos_embed is {pos_embed!r}, but RegressorDecoder adds positions to its queries: take 'sincos', "
                "'sincos_rows' or 'learned'."
            )
        if not output and out_dim != encoder_dim:
            raise UsageError(
                f"output is False, so that the predictions are {encoder_dim} wide, but the target has {out_dim}: set "
                "output=True, or take the features of an encoder of the same width."
            )
        self.embed_dim, self.num_prefix_tokens, self.head_dim = encoder_dim, num_prefix_tokens, encoder_dim // num_heads
        self.mask_token = nn.Parameter(torch.zeros(1, 1, encoder_dim))
        self._add_places(pos_embed, grid, None)
        self.blocks = nn.ModuleList(
            RegressorBlock(encoder_dim, num_heads, mlp_ratio, rate, layer_scale)
            for rate in drop_path_rates(drop_path_rate, depth)
        )
        self.norm = LayerNorm(encoder_dim)
        self.pred = nn.Linear(encoder_dim, out_dim) if output else nn.Identity()
        init_as_mae(self)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {"depth": 2, "num_heads": 2}

    def forward(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict`; with `predict_prefix` (B, T + M, P).

        Args:
            latent: tokens (B, T + V, D), prefix first.
            plan: of the batch.

        Raises:
            UsageError: the plan has groups that are predicted separately.
        """
        check_no_groups(plan, self)
        seen = latent[:, self.num_prefix_tokens :]
        own = ~plan.mask.gather(1, plan.ids_predict) if self.visible else None  # (B, M)
        x = self._regress(seen, plan, own)
        if own is not None:
            order = plan.ids_restore.gather(1, plan.ids_predict).clamp(max=plan.num_keep - 1)
            x = torch.where(own[..., None], take_tokens(seen, order), x)
        x = self.norm(torch.cat([latent[:, : self.predicted_prefix], x], dim=1) if self.predicted_prefix else x)
        return x if isinstance(self.pred, nn.Identity) else call_linear(self.pred, x)

    def _regress(self, seen: Tensor, plan: MaskPlan, own: Tensor | None) -> Tensor:
        """Return tokens (B, M, D) for the patches to predict, of which no other query sees those that are `own`."""
        x = self.mask_token.to(seen.dtype).expand(*plan.ids_predict.shape, -1)
        ids = torch.cat([plan.ids_keep, plan.ids_predict], dim=1) + self.num_prefix_tokens
        places = positions_at(self._places(plan), ids)  # (B, V + M, D)
        keep = _kept(plan, own)
        for block in self.blocks:
            x = block(x, seen, places, keep)
        return x


def _kept(plan: MaskPlan, own: Tensor | None) -> Tensor | None:
    """Return which visible tokens and queries may be seen, bool (B, V + M): no padding, and not `own`; None is all."""
    if plan.keep_valid is None and plan.weight is None and own is None:
        return None
    asked = torch.ones_like(plan.ids_predict, dtype=torch.bool) if plan.weight is None else plan.weight > 0
    asked = asked if own is None else asked & ~own
    if plan.keep_valid is None:
        return pad(asked, (plan.num_keep, 0), value=True)
    return torch.cat([plan.keep_valid, asked], dim=1)
