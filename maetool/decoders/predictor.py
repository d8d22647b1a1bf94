"""A decoder that puts mask tokens behind the visible tokens instead of between them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from maetool.annotations import Count, FromZero, Positive
from maetool.errors import UsageError
from maetool.layers import Init, LayerNorm, call_linear, initialise, run_blocks_at, transformer_blocks
from maetool.layers.attention import QkvBias
from maetool.layers.positions import with_positions
from maetool.layers.stream_positions import StreamCode, StreamPosEmbed
from maetool.ops.patches import take_tokens
from maetool.ops.random import KeyedRandom, mix
from maetool.registry import DECODERS
from maetool.structures import MaskPlan

from .places import PlacedDecoder, small_code

_NOISE = 1 << 42  # the keys of mask tokens are others than those of masks, corruptions and crops


class _Queries(NamedTuple):
    """The mask tokens of a batch, for each group of predictions in a row of its own.

    Attributes:
        ids: (B * G, m), the places that they ask for, the prefix counted.
        asked: bool (B * G, m), False = padding; None, there is none.
        order: (B, M), where each prediction stands among the G * m of its sample; None, where it stood.
        groups: G.
    """

    ids: Tensor
    asked: Tensor | None
    order: Tensor | None
    groups: int


@DECODERS.register_module()
class PredictorDecoder(PlacedDecoder):
    """Self-attention over the visible tokens, followed by a mask token for each prediction.

    A place may be visible and predicted, and be predicted in several groups: it then stands in the sequence as often.
    Groups of the plan never see each other: each is predicted from the visible tokens in a pass of its own. Predictions
    of weight 0 are padding, and nobody sees their mask tokens. With `embed_bias=False, qkv_bias="qv",
    pos_embed="flat"` it is VideoMAE's decoder; in the sizes of its encoder the predictor of I-JEPA.
    Source: VideoMAE, `modeling_pretrain.py` (MCG-NJU/VideoMAE); I-JEPA, section 3 (facebookresearch/ijepa,
    `src/models/vision_transformer.py`).

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
        drop_path_rate: drop path of the last block; it rises linearly from 0.
        pos_embed: see `TransformerDecoder`.
        pos_every_block: add the positions before each block, and not only before the first (Point-MAE).
        embed_bias: of the map from D to E.
        qkv_bias: of queries, keys and values: True, False, or "qv", none of keys.
        num_groups: groups of equal size that every plan has, one after the other. None counts those of each plan,
            which waits for the device.
        attend_unweighted: mask tokens of weight 0 take part in the attention (VideoMAE V2).
        query_noise: draw the mask tokens instead of learning one: normal numbers (D,) of this deviation through the map
            that embeds the encoder's tokens, so that the places of the predictions are uncertain. Each is a function
            of the sample's key, of its group and of its place; without keys in the plan these come from torch's
            generator. In evaluation they are all zero, and the mask token is the bias of the map. Source: StoP
            (amirbar/StoP, `src/deit.py`).
        grids, out_dims, stream_code, code_dim, coord_dim: see `TransformerDecoder`.
        init: see `VisionTransformer`.

    Raises:
        UsageError: sizes that do not divide, or a choice that there is not.
    """

    reads = ("visible", "blank")

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        grid: int | Sequence[int] | None = None,
        num_prefix_tokens: int = 1,
        embed_dim: Count = 384,
        depth: FromZero = 4,
        num_heads: Count = 6,
        mlp_ratio: Positive = 4.0,
        drop_path_rate: float = 0.0,
        pos_embed: StreamPosEmbed = "sincos",
        pos_every_block: bool = False,
        embed_bias: bool = True,
        qkv_bias: QkvBias = True,
        num_groups: Count | None = None,
        attend_unweighted: bool = False,
        query_noise: Positive | None = None,
        grids: Mapping[str, Sequence[int]] | None = None,
        out_dims: Mapping[str, int] | None = None,
        stream_code: StreamCode = "none",
        code_dim: FromZero = 0,
        coord_dim: FromZero = 0,
        init: Init = "mae",
    ) -> None:
        super().__init__()
        self.embed_dim, self.num_prefix_tokens, self.head_dim = embed_dim, num_prefix_tokens, embed_dim // num_heads
        self.num_groups, self.attend_unweighted, self.pos_every_block = num_groups, attend_unweighted, pos_every_block
        self.encoder_dim, self.query_noise = encoder_dim, query_noise
        self.embed = nn.Linear(encoder_dim, embed_dim, bias=embed_bias)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if query_noise is None else None
        self._add_places(pos_embed, grid, grids, stream_code, code_dim, coord_dim)
        self.blocks = transformer_blocks(embed_dim, depth, num_heads, mlp_ratio, drop_path_rate, qkv_bias=qkv_bias)
        self.norm = LayerNorm(embed_dim)
        self._add_output(out_dim, out_dims)
        initialise(self, init)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {"embed_dim": 16 * arguments["num_heads"], "depth": 2, **small_code(arguments)}

    def forward(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict`.

        Args:
            latent: tokens (B, T + V, D), prefix first.
            plan: of the batch; places of `plan.group` do not see each other.

        Raises:
            UsageError: predictions that do not divide into `num_groups`.
        """
        return self._predict(self.decode(latent, plan), plan)

    def decode(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return the normalised tokens (B, M, E) of the predictions; arguments as in `forward` (`latent`, `plan`)."""
        asked = self._queries(plan)
        x = call_linear(self.embed, latent).repeat_interleave(asked.groups, dim=0)  # (B * G, T + V, E)
        prefix = torch.arange(self.num_prefix_tokens, device=x.device).expand(len(latent), -1)
        seen = torch.cat([prefix, plan.ids_keep + self.num_prefix_tokens], dim=1)  # (B, T + V)
        ids = torch.cat([seen.repeat_interleave(asked.groups, dim=0), asked.ids], dim=1)  # (B * G, T + V + m)
        x = torch.cat([x, self._mask_tokens(asked, x, plan.keys)], dim=1)
        places, rope = self._places(plan), self._rope(plan, x.device)
        if places is not None:
            places = take_tokens(places.expand(len(latent), -1, -1).repeat_interleave(asked.groups, dim=0), ids)
        every, places = (places, None) if self.pos_every_block else (None, places)
        x = with_positions(self, x, places)
        last = torch.arange(seen.shape[1], ids.shape[1], device=x.device).expand(len(x), -1)
        keep = self._keep(plan, asked, seen.shape[1])
        x = run_blocks_at(self.blocks, x, last, keep, None if rope is None else rope.take(ids), every)
        x = x.unflatten(0, (-1, asked.groups)).flatten(1, 2)  # (B, G * m, E)
        return self.norm(x if asked.order is None else take_tokens(x, asked.order))  # (B, M, E)

    def _mask_tokens(self, asked: _Queries, like: Tensor, keys: Tensor | None) -> Tensor:
        """Return a mask token for each of `asked.ids`, (B * G, m, E), of the dtype of `like`."""
        if self.mask_token is not None:
            return self.mask_token.to(like.dtype).expand(*asked.ids.shape, -1)
        return call_linear(self.embed, self._noise(asked, like, keys))

    def _noise(self, asked: _Queries, like: Tensor, keys: Tensor | None) -> Tensor:
        """Return what is embedded as mask tokens, (B * G, m, D): drawn in training, else zeros."""
        if not self.training or not self.query_noise:
            return like.new_zeros(*asked.ids.shape, self.encoder_dim)
        keys = torch.randint(2**62, (len(like) // asked.groups,)) if keys is None else keys
        keys = mix(keys.to(like.device)[:, None], _NOISE + torch.arange(asked.groups, device=like.device))  # (B, G)
        each = mix(keys.flatten()[:, None], asked.ids)  # (B * G, m), whatever else is in the row
        noise = KeyedRandom(each.flatten()).normal(self.encoder_dim).unflatten(0, each.shape)
        return (self.query_noise * noise).to(like.dtype)

    def _keep(self, plan: MaskPlan, asked: _Queries, num_seen: int) -> Tensor | None:
        """Return which tokens (B * G, T + V + m) are no padding; None is all."""
        if plan.keep_valid is None and asked.asked is None:
            return None
        seen = plan.mask.new_ones(len(plan.mask), num_seen)
        if plan.keep_valid is not None:
            seen = pad(plan.keep_valid, (self.num_prefix_tokens, 0), value=True)
        queries = torch.ones_like(asked.ids, dtype=torch.bool) if asked.asked is None else asked.asked
        return torch.cat([seen.repeat_interleave(asked.groups, dim=0), queries], dim=1)

    def _queries(self, plan: MaskPlan) -> _Queries:
        ids = plan.ids_predict + self.num_prefix_tokens
        asked = None if plan.weight is None or self.attend_unweighted else plan.weight > 0
        if plan.group is None:
            return _Queries(ids, asked, None, 1)
        if self.num_groups is not None:
            _check_groups(plan, self.num_groups)
            asked = None if asked is None else _rows(asked, self.num_groups)
            return _Queries(_rows(ids, self.num_groups), asked, None, self.num_groups)
        groups = int(plan.group.max()) + 1
        sizes = torch.zeros(len(ids), groups, dtype=torch.int64, device=ids.device)
        sizes = sizes.scatter_add(1, plan.group, torch.ones_like(ids))
        longest = int(sizes.max())
        place = torch.arange(ids.shape[1], device=ids.device) - (sizes.cumsum(dim=1) - sizes).gather(1, plan.group)
        index = plan.group * longest + place  # (B, M)
        filled = torch.zeros(len(ids), groups * longest, dtype=torch.bool, device=ids.device)
        filled = filled.scatter(1, index, torch.ones_like(ids, dtype=torch.bool) if asked is None else asked)
        spread = ids.new_zeros(filled.shape).scatter(1, index, ids)
        return _Queries(_rows(spread, groups), _rows(filled, groups), index, groups)


def _rows(values: Tensor, groups: int) -> Tensor:
    """Return (B, G * m) as (B * G, m)."""
    return values.unflatten(1, (groups, -1)).flatten(0, 1)


def _check_groups(plan: MaskPlan, groups: int) -> None:
    number, group = plan.ids_predict.shape[1], plan.group
    expected = torch.arange(groups, device=plan.mask.device).repeat_interleave(max(1, number // groups))
    same = number % groups == 0 and group is not None
    if same and group is not None and group.device.type == "cpu":  # where nothing waits
        same = torch.equal(group, expected.expand_as(group))
    if not same:
        raise UsageError(
            f"num_groups is {groups}, but the {number} predictions of a sample are not {groups} groups of equal size: "
            "leave num_groups out."
        )
