"""A decoder that goes on from the predictions of another one."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from maetool.annotations import Count, FromZero, Positive
from maetool.layers import LayerNorm, init_as_mae, run_blocks, transformer_blocks
from maetool.layers.attention import QkvBias
from maetool.layers.drop_path import DropPathRate
from maetool.layers.positions import PosEmbed, positions_at, with_positions
from maetool.registry import DECODERS
from maetool.structures import MaskPlan

from .places import PlacedDecoder, check_no_groups


@DECODERS.register_module()
class RefiningDecoder(PlacedDecoder):
    """Self-attention among the predictions of the model's own decoder, followed by a linear map; nothing else is seen.

    It is for a task with `reads="main"`. Source: the decoder of CAE (Atten4Vis/CAE, `models/modeling_cae_helper.py`).

    Args:
        encoder_dim: D, of the predictions that it reads; the model hands it over.
        out_dim: P, numbers to predict for each patch.
        grid: such as (h, w), or one number for a square: the grid that is trained on. Other grids work too.
        depth: number of blocks.
        num_heads: attention heads of a block.
        mlp_ratio: width of a block's hidden layer over D.
        drop_path_rate: drop path of the last block, rising linearly from 0; or of the first and the last.
        layer_scale: where learned factors of the channels of each branch begin; None, there are none.
        qkv_bias: of queries, keys and values: True, False, or "qv", none of keys.
        pos_embed: see `TransformerDecoder`.

    Raises:
        UsageError: sizes that do not divide, or a choice that there is not.
    """

    reads: ClassVar = ("predicted",)
    num_prefix_tokens = 0

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        grid: int | Sequence[int],
        depth: FromZero = 4,
        num_heads: Count = 12,
        mlp_ratio: Positive = 4.0,
        drop_path_rate: DropPathRate = 0.0,
        layer_scale: float | None = None,
        qkv_bias: QkvBias = True,
        pos_embed: PosEmbed = "sincos",
    ) -> None:
        super().__init__()
        self.embed_dim, self.head_dim = encoder_dim, encoder_dim // num_heads
        options: Any = (drop_path_rate, layer_scale, qkv_bias)
        self.blocks = transformer_blocks(encoder_dim, depth, num_heads, mlp_ratio, *options)
        self._add_places(pos_embed, grid, None)
        self.norm = LayerNorm(encoder_dim)
        self._add_output(out_dim, None)
        init_as_mae(self)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {"depth": 2, "num_heads": 2}

    def forward(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict`.

        Args:
            latent: predictions (B, M, D) at the same places.
            plan: of the batch; predictions of weight 0 are padding, which no other sees.

        Raises:
            UsageError: the plan has groups that are predicted separately.
        """
        check_no_groups(plan, self)
        rope = self._rope(plan, latent.device)
        x = with_positions(self, latent, positions_at(self._places(plan), plan.ids_predict))  # (B, M, D)
        keep = None if plan.weight is None else plan.weight > 0
        keep = None if keep is None else keep | ~keep.any(dim=1, keepdim=True)  # no row without any key
        rope = None if rope is None else rope.take(plan.ids_predict)
        refined: Any = run_blocks(self.blocks, x, self.norm, keep=keep, rope=rope)
        return self._predict(refined, plan)
