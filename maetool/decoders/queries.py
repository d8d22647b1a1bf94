"""A decoder whose mask tokens ask the tokens of the visible patches."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import pad

from maetool.annotations import Count, FromZero, Positive
from maetool.errors import UsageError
from maetool.layers import Prototypes, call_linear, check_heads, init_as_mae
from maetool.layers.drop_path import DropPathRate, drop_path_rates
from maetool.layers.norm import FinalNorm, NormKind, final_norm_of
from maetool.layers.positions import PosEmbed, positions_at, with_positions
from maetool.ops.patches import with_prefix_ids
from maetool.ops.rotary import Rope
from maetool.registry import DECODERS
from maetool.structures import MaskPlan

from .places import PlacedDecoder, check_no_groups
from .views import Step, ViewBlock, check_steps


@DECODERS.register_module()
class QueryDecoder(PlacedDecoder):
    """Mask tokens of the predicted patches, which ask the encoder's tokens; those stay the same in all blocks.

    With `steps=("cross", "mlp")`, where no prediction sees another one, it is the predictor of CAPI; with `("self",
    "cross", "mlp")`, a class token and queries that begin with what is visible around, the decoder of Latent MIM.
    Source: facebookresearch/capi, `model.py`; yibingwei-1/LatentMIM, `xvits.py`.

    Args:
        encoder_dim: D.
        out_dim: P, numbers to predict for each patch.
        grid: such as (h, w), or one number for a square: the grid that is trained on. Other grids work too.
        num_prefix_tokens: T; the prefix is asked too.
        embed_dim: E, of the queries.
        depth: number of blocks.
        num_heads: attention heads.
        mlp_ratio: width of the hidden layers over E.
        steps: of a block, in their order: "cross", "mlp" and "self".
        drop_path_rate: drop path of the last block, rising linearly from 0; or of the first and the last.
        pos_embed: see `VisionTransformer`; rotary ones turn queries and keys.
        embed_memory: map the encoder's tokens to E first; without it each block maps them from D.
        memory_norm: each step that asks the memory normalises it.
        memory_positions: add positions to the memory too.
        class_token: a query of no place, which is not predicted.
        start: of the queries: a "mask_token"; or "visible", the mean of the visible tokens, of which those count most
            whose positions are most alike, and a mask token that begins as 0.
        norm_layer, bias, final_norm: see `VisionTransformer`.
        output: a "linear" map to P numbers, or "prototypes": the cosine to P rows, times a learned length of each.

    Raises:
        UsageError: sizes that do not divide, a choice that there is not, or choices that contradict each other.
    """

    reads = ("visible", "blank")

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        grid: int | Sequence[int],
        num_prefix_tokens: int = 1,
        embed_dim: Count = 512,
        depth: FromZero = 4,
        num_heads: Count = 16,
        mlp_ratio: Positive = 4.0,
        steps: Sequence[Step] = ("cross", "mlp"),
        drop_path_rate: DropPathRate = 0.0,
        pos_embed: PosEmbed = "sincos",
        embed_memory: bool = True,
        memory_norm: bool = False,
        memory_positions: bool = False,
        class_token: bool = False,
        start: Literal["mask_token", "visible"] = "mask_token",
        norm_layer: NormKind = "layer",
        bias: bool = True,
        final_norm: FinalNorm = True,
        output: Literal["linear", "prototypes"] = "linear",
    ) -> None:
        super().__init__()
        check_heads(embed_dim, num_heads)
        check_steps(steps)
        self.embed_dim, self.num_prefix_tokens, self.head_dim = embed_dim, num_prefix_tokens, embed_dim // num_heads
        self.steps, self.start, self.memory_positions = tuple(steps), start, memory_positions
        self.embed = nn.Linear(encoder_dim, embed_dim) if embed_memory else None
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if class_token else None
        self._add_places(pos_embed, grid, None)
        self._check_choices(output)
        own: Any = (embed_dim, num_heads, int(embed_dim * mlp_ratio), False, memory_norm, 0.0)
        options: Any = {"memory_dim": None if embed_memory else encoder_dim, "norm_layer": norm_layer, "bias": bias}
        rates = drop_path_rates(drop_path_rate, depth)
        self.blocks = nn.ModuleList(ViewBlock(steps, *own, drop_path=rate, **options) for rate in rates)
        self.norm = final_norm_of(norm_layer, embed_dim, final_norm)
        linear = output == "linear"
        self.pred = nn.Linear(embed_dim, out_dim) if linear else Prototypes(embed_dim, out_dim, "learned")
        init_as_mae(self)
        if start == "visible":
            nn.init.zeros_(self.mask_token)

    def _check_choices(self, output: str) -> None:
        if self.start not in ("mask_token", "visible") or output not in ("linear", "prototypes"):
            raise UsageError(
                f'start is {self.start!r} and output {output!r}, but must be "mask_token" or "visible", and "linear" '
                'or "prototypes".'
            )
        if self.pos_embed is None and (self.start == "visible" or self.memory_positions):
            raise UsageError(
                f'start="visible" and memory_positions need a table of positions, but pos_embed is {self.positions!r}: '
                'take another one, such as "sincos".'
            )
        if self.embed is None and (self.start == "visible" or self.memory_positions):
            raise UsageError('start="visible" and memory_positions are in the width E: set embed_memory=True.')

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {"embed_dim": 16 * arguments["num_heads"], "depth": 2}

    def forward(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict`.

        Args:
            latent: tokens (B, T + V, D), prefix first.
            plan: of the batch.

        Raises:
            UsageError: the plan asks for groups that are predicted separately, and the queries see each other.
        """
        return self._predict(self.decode(latent, plan), plan)

    def decode(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return the normalised tokens (B, M, E) of the predictions; arguments as in `forward` (`latent`, `plan`)."""
        if "self" in self.steps:
            check_no_groups(plan, self)
        memory = latent if self.embed is None else call_linear(self.embed, latent)  # (B, T + V, E or D)
        seen = with_prefix_ids(plan.ids_keep, self.num_prefix_tokens)  # (B, T + V)
        asked = plan.ids_predict + self.num_prefix_tokens  # (B, M)
        places, rope = self._places(plan), self._rope(plan, latent.device)
        known = positions_at(places, seen)
        wanted = positions_at(places, asked)
        x = with_positions(self, self._queries(memory, known, wanted, plan), wanted)
        if self.memory_positions and known is not None:
            memory = memory + known
        own_rope, memory_rope = (None, None) if rope is None else (rope.take(asked), rope.take(seen))
        return self.norm(self._run(x, memory, own_rope, memory_rope, plan))

    def _queries(self, memory: Tensor, known: Tensor | None, wanted: Tensor | None, plan: MaskPlan) -> Tensor:
        """Return what the queries (B, M, E) begin with, from positions of what is visible and of what is predicted."""
        fill = self.mask_token.to(memory.dtype).expand(*plan.ids_predict.shape, -1)
        if self.start == "mask_token" or known is None or wanted is None:
            return fill
        first, keep = self.num_prefix_tokens, plan.keep_valid
        keys, queries, values = (x[:, None].to(memory.dtype) for x in (known[:, first:], wanted, memory[:, first:]))
        keep = None if keep is None else keep[:, None, None]
        return fill + functional.scaled_dot_product_attention(queries, keys, values, attn_mask=keep)[:, 0]

    def _run(self, x: Tensor, memory: Tensor, rope: Rope | None, memory_rope: Rope | None, plan: MaskPlan) -> Tensor:
        """Return the queries (B, M, E) after all blocks."""
        keep = None if plan.weight is None else plan.weight > 0  # padding, which no query sees
        seen = None if plan.keep_valid is None else pad(plan.keep_valid, (self.num_prefix_tokens, 0), value=True)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.to(x.dtype).expand(len(x), -1, -1), x], dim=1)
            keep = None if keep is None else pad(keep, (1, 0), value=True)
            rope = None if rope is None else rope.with_prefix(1)
        for block in self.blocks:
            x = block(x, memory, keep, rope, seen, memory_rope)
        return x if self.cls_token is None else x[:, 1:]
