"""The transformer decoder of MAE."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from maetool.annotations import Count, FromZero, Positive
from maetool.errors import UsageError
from maetool.layers import LayerNorm, call_linear, init_as_mae, run_blocks_at, transformer_blocks
from maetool.layers.positions import with_positions
from maetool.layers.stream_positions import StreamCode, StreamPosEmbed
from maetool.registry import DECODERS
from maetool.structures import MaskPlan

from .places import PlacedDecoder, check_no_groups, check_prefix, small_code


@DECODERS.register_module()
class TransformerDecoder(PlacedDecoder):
    """Self-attention over visible tokens and mask tokens; the last block only where a prediction is asked for.

    Source: MAE, section 3; behaviour of `models_mae.py` (facebookresearch/mae).

    Args:
        encoder_dim: D.
        out_dim: P, numbers to predict for each patch.
        grid: such as (h, w), or one number for a square: the grid that is trained on. Other grids work too. None, there
            are several streams.
        num_prefix_tokens: T; the prefix takes part in the attention.
        embed_dim: E.
        depth: number of blocks.
        num_heads: attention heads of a block.
        mlp_ratio: width of a block's hidden layer over E.
        pos_embed: "sincos" or "sincos_rows", fixed; "learned"; "flat", "separable", "rotary" or "none", see
            `maetool.layers.positions.add_positions`; or "coords", of the layout's coordinates.
        drop_path_rate: drop path of the last block; it rises linearly from 0.
        predict_prefix: predict the prefix too, whose predictions come first; the target must give it (dBOT).
        fill: what stands in the places that the encoder did not see: "mask_token", learned; or "cls", the encoder's
            class token, also in those that entered blank (MAGE).
        own_prefix: begin with T learned tokens instead of the encoder's prefix, which is dropped (MAE-ST).
        grids: name of each stream to its grid, where there are several.
        out_dims: name of each stream to its P, for a map of its own; predictions of fewer numbers end in zeros.
        stream_code, code_dim: what marks the stream of a place, see `maetool.layers.stream_positions.StreamPositions`.
        coord_dim: axes of the coordinates, for "coords".
        has_class_token: whether the prefix begins with a class token; the encoder's.

    Attributes:
        predicted_prefix: tokens of the prefix that are predicted, T or 0.

    Raises:
        UsageError: sizes that do not divide, a choice that there is not, or a prefix to predict, or to fill with, where
            there is none.
    """

    reads = ("visible", "blank")

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        grid: int | Sequence[int] | None = None,
        num_prefix_tokens: int = 1,
        embed_dim: Count = 512,
        depth: FromZero = 8,
        num_heads: Count = 16,
        mlp_ratio: Positive = 4.0,
        pos_embed: StreamPosEmbed = "sincos",
        drop_path_rate: float = 0.0,
        predict_prefix: bool = False,
        fill: Literal["mask_token", "cls"] = "mask_token",
        own_prefix: bool = False,
        grids: Mapping[str, Sequence[int]] | None = None,
        out_dims: Mapping[str, int] | None = None,
        stream_code: StreamCode = "none",
        code_dim: FromZero = 0,
        coord_dim: FromZero = 0,
        has_class_token: bool = True,
    ) -> None:
        super().__init__()
        if fill == "cls" and not (num_prefix_tokens and has_class_token):
            raise UsageError("fill is 'cls', but the encoder has no class token: take 'mask_token'.")
        _check_prefix(num_prefix_tokens, predict_prefix, fill, own_prefix, out_dims)
        self.predicted_prefix = num_prefix_tokens if predict_prefix else 0
        self.embed_dim, self.num_prefix_tokens, self.head_dim = embed_dim, num_prefix_tokens, embed_dim // num_heads
        self.fill, self.cls_token = fill, None
        if own_prefix:
            self.cls_token = nn.Parameter(torch.zeros(1, num_prefix_tokens, embed_dim))
        self.embed = nn.Linear(encoder_dim, embed_dim)
        if fill == "mask_token":
            self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self._add_places(pos_embed, grid, grids, stream_code, code_dim, coord_dim)
        self.blocks = transformer_blocks(embed_dim, depth, num_heads, mlp_ratio, drop_path_rate)
        self.norm = LayerNorm(embed_dim)
        self._add_output(out_dim, out_dims)
        init_as_mae(self)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {"embed_dim": 16 * arguments["num_heads"], "depth": 2, **small_code(arguments)}

    def forward(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict`; with `predict_prefix` (B, T + M, P), the prefix first.

        Args:
            latent: tokens (B, T + V, D), prefix first.
            plan: of the batch.
        """
        return self._predict(self.decode(latent, plan, plan.ids_predict, self.predicted_prefix), plan)

    def decode(self, latent: Tensor, plan: MaskPlan, ids: Tensor, prefix: int = 0) -> Tensor:
        """Return normalised tokens (B, prefix + M, E): the first `prefix` prefix tokens, then the patches `ids`.

        Args:
            latent: tokens (B, T + V, D), prefix first.
            plan: of the batch.
            ids: patches to predict, int64 (B, M).
            prefix: how many of the T prefix tokens are returned too.

        Raises:
            UsageError: the plan asks for groups that are predicted separately.
        """
        check_no_groups(plan, self)
        x = with_positions(self, self._restored(latent, plan), self._places(plan))  # (B, T + L, E)
        ids = ids + self.num_prefix_tokens
        if prefix:
            ids = torch.cat([torch.arange(prefix, device=x.device).expand(len(x), -1), ids], dim=1)
        x = run_blocks_at(self.blocks, x, ids, self._valid(plan), self._rope(plan, x.device))
        return self.norm(x)  # (B, prefix + M, E)

    def _restored(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return tokens (B, T + V, D) in the width E and in their places, with what fills the others, (B, T + L, E)."""
        x = call_linear(self.embed, latent)  # (B, T + V, E)
        if self.cls_token is not None:
            own = self.cls_token.to(x.dtype).expand(len(x), -1, -1)
            x = torch.cat([own, x[:, self.num_prefix_tokens :]], dim=1)
        if self.fill == "mask_token":
            return plan.restore(x, self.mask_token, self.num_prefix_tokens)
        fill = x[:, :1]
        if plan.blank is not None:
            x = torch.where(pad(plan.blank, (self.num_prefix_tokens, 0))[..., None], fill, x)
        return plan.restore(x, fill, self.num_prefix_tokens)


def _check_prefix(
    number: int, predict_prefix: bool, fill: str, own_prefix: bool, out_dims: Mapping[str, int] | None
) -> None:
    if fill not in ("mask_token", "cls"):
        raise UsageError(f"fill is {fill!r}, but must be 'mask_token' or 'cls'.")
    if own_prefix and (not number or fill == "cls" or predict_prefix):
        raise UsageError(
            "own_prefix replaces the encoder's class token, so that the encoder must have one, and neither fill='cls' "
            "nor predict_prefix can read it: set own_prefix=False."
        )
    check_prefix(number, predict_prefix)
    if predict_prefix and out_dims:
        raise UsageError("predict_prefix is True, but the prefix belongs to no stream of out_dims: set it to False.")
