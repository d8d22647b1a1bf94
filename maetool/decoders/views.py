"""A decoder that asks the tokens of another view."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from maetool.annotations import Count, FromZero
from maetool.errors import UsageError
from maetool.layers import Attention, CrossAttention, DropPath, LayerNorm, Mlp, call_linear, check_heads, init_as_mae
from maetool.layers.norm import NormKind, norm_of
from maetool.layers.positions import ROTARY, PosEmbed, with_positions
from maetool.ops.patches import take_tokens
from maetool.ops.rotary import Rope
from maetool.registry import DECODERS
from maetool.structures import MaskPlan

from .places import PlacedDecoder, check_no_groups

Step = Literal["cross", "mlp", "self"]


class ViewStep(nn.Module):
    """One branch of a block, with its norm and a residual around it.

    Args:
        kind: "self", attention among the tokens; "cross", attention over the memory; "mlp", a hidden layer.
        embed_dim: E.
        num_heads: attention heads.
        hidden_dim: width of the hidden layer.
        post_norm: normalise the sum, not what enters the branch.
        memory_norm: normalise the memory.
        dropout: of what the branch adds.
        memory_dim: width of the memory; None is E.
        norm_layer: see `maetool.layers.norm.norm_of`.
        bias: of the linear maps.
        drop_path: share of the samples for which the branch is left out in training.
    """

    def __init__(
        self,
        kind: Step,
        embed_dim: int,
        num_heads: int,
        hidden_dim: int,
        post_norm: bool,
        memory_norm: bool,
        dropout: float,
        memory_dim: int | None = None,
        norm_layer: NormKind = "layer",
        bias: bool = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        norm, memory_dim = norm_of(norm_layer), memory_dim or embed_dim
        self.kind, self.post_norm = kind, post_norm
        self.norm = norm(embed_dim)
        self.memory_norm = norm(memory_dim) if kind == "cross" and memory_norm else nn.Identity()
        self.branch: Any = Mlp(embed_dim, hidden_dim, bias)
        if kind == "self":
            self.branch = Attention(embed_dim, num_heads, bias, bias=bias)
        elif kind == "cross":
            self.branch = CrossAttention(embed_dim, memory_dim, num_heads, bias)
        self.drop: nn.Module = DropPath(drop_path) if drop_path else nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        keep: Tensor | None = None,
        rope: Rope | None = None,
        memory_keep: Tensor | None = None,
        memory_rope: Rope | None = None,
    ) -> Tensor:
        """Return x (B, N, E) after the branch.

        Args:
            x: (B, N, E).
            memory: (B, K, E), or as wide as `memory_dim`.
            keep: bool (B, N), False = padding among x.
            rope: rotary positions of x.
            memory_keep: bool (B, K), False = padding among the memory.
            memory_rope: rotary positions of the memory.
        """
        normed = x if self.post_norm else self.norm(x)
        if self.kind == "self":
            added = self.branch(normed, keep=keep, rope=rope)
        elif self.kind == "cross":
            added = self.branch(normed, self.memory_norm(memory), memory_keep, rope, memory_rope)
        else:
            added = self.branch(normed)
        x = x + self.drop(added)
        return self.norm(x) if self.post_norm else x


class ViewBlock(nn.Module):
    """Steps one after another.

    Args:
        steps: their kinds.
        embed_dim, num_heads, hidden_dim, post_norm, memory_norm, dropout: see `ViewStep`.
        options: the further arguments of `ViewStep`.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        embed_dim: int,
        num_heads: int,
        hidden_dim: int,
        post_norm: bool,
        memory_norm: bool,
        dropout: float,
        **options: Any,
    ) -> None:
        super().__init__()
        own = (embed_dim, num_heads, hidden_dim, post_norm, memory_norm, dropout)
        self.steps = nn.ModuleList(ViewStep(step, *own, **options) for step in steps)

    def forward(self, x: Tensor, memory: Tensor, *context: Any) -> Tensor:
        """Return x after all steps, (B, N, E).

        Args:
            x: tokens (B, N, E).
            memory: tokens (B, K, E) that are asked.
            context: what else `ViewStep` takes, in its order.
        """
        for step in self.steps:
            x = step(x, memory, *context)
        return x


def check_steps(steps: Sequence[str]) -> None:
    """Check the steps of a block.

    Raises:
        UsageError: one that there is not, or none that asks the memory.
    """
    if "cross" not in steps or not set(steps) <= {"cross", "mlp", "self"}:
        raise UsageError(f"steps is {list(steps)}, but must name 'cross', and may name 'mlp' and 'self', in any order.")


@DECODERS.register_module()
class CrossViewDecoder(PlacedDecoder):
    """Predicts a masked view from its visible tokens and mask tokens, which ask the tokens of another view.

    Blocks are made of steps in any order: `("cross", "mlp", "self")` with `post_norm` is CropMAE's and SiamMAE's block,
    `("self", "cross", "mlp")` with `memory_norm` and `memory_positions` CroCo's.
    Source: alexandre-eymael/CropMAE, `models/components/DecoderBlock.py`; naver/croco, `models/blocks.py`.

    Args:
        encoder_dim: D, of both views.
        out_dim: P, numbers to predict for each patch.
        grid: such as (h, w), or one number for a square: the grid that is trained on. Other grids work too.
        num_prefix_tokens: T, of both views.
        embed_dim: E.
        depth: number of blocks.
        num_heads: attention heads.
        steps: of a block, in their order: "cross", "mlp" and "self".
        post_norm: normalise what a step returns, not what it reads.
        hidden_dim: width of the hidden layers; None is 4 E.
        memory_norm: each step that asks the memory normalises it.
        memory_positions: add the positions to the memory too.
        pos_embed: see `TransformerDecoder`; "rotary" turns queries and keys of both views.
        dropout: of what a step adds.

    Attributes:
        takes_memory: the model hands over the other view's tokens (B, T + L, D), with nothing hidden.

    Raises:
        UsageError: sizes that do not divide, steps that there are not, or none that asks the memory.
    """

    reads = ("visible", "blank")
    takes_memory = True

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        grid: int | Sequence[int],
        num_prefix_tokens: int = 1,
        embed_dim: Count = 256,
        depth: FromZero = 4,
        num_heads: Count = 8,
        steps: Sequence[Step] = ("cross", "mlp", "self"),
        post_norm: bool = False,
        hidden_dim: Count | None = None,
        memory_norm: bool = False,
        memory_positions: bool = False,
        pos_embed: PosEmbed = "sincos",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_heads(embed_dim, num_heads)
        check_steps(steps)
        if pos_embed == "rotary_box":
            raise UsageError(
                "pos_embed is 'rotary_box', which places the prefix by what is visible of one view, but two views "
                "share the positions: take 'rotary'."
            )
        self.embed_dim, self.num_prefix_tokens, self.head_dim = embed_dim, num_prefix_tokens, embed_dim // num_heads
        self.memory_positions = memory_positions
        self.embed = nn.Linear(encoder_dim, embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self._add_places(pos_embed, grid, None)
        options: Any = (embed_dim, num_heads, hidden_dim or 4 * embed_dim, post_norm, memory_norm, dropout)
        self.blocks = nn.ModuleList(ViewBlock(steps, *options) for _ in range(depth))
        self.norm = LayerNorm(embed_dim)
        self._add_output(out_dim, None)
        init_as_mae(self)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {"embed_dim": 16 * arguments["num_heads"], "depth": 2, "hidden_dim": 64}

    def forward(self, latent: Tensor, plan: MaskPlan, memory: Tensor) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict`.

        Args:
            latent: (B, T + V, D), of the masked view.
            plan: of that view.
            memory: (B, T + L, D), of the other view.

        Raises:
            UsageError: the plan asks for groups that are predicted separately, or positions of the memory are needed
                and it lies on another grid.
        """
        check_no_groups(plan, self)
        length = self.num_prefix_tokens + plan.layout.length
        if memory.shape[1] != length and (self.memory_positions or self.positions in ROTARY):
            raise UsageError(
                f"The other view has {memory.shape[1]} tokens, but the masked one {length}, and both have the same "
                "positions here: give views of one size."
            )
        places, rope = self._places(plan), self._rope(plan, latent.device)
        x, memory = call_linear(self.embed, latent), call_linear(self.embed, memory)
        x = plan.restore(x, self.mask_token, self.num_prefix_tokens)  # (B, T + L, E)
        x = with_positions(self, x, places)
        memory = memory + places if self.memory_positions and places is not None else memory
        keep = self._valid(plan)
        for block in self.blocks:
            x = block(x, memory, keep, rope, None, rope)
        return self._predict(self.norm(take_tokens(x, plan.ids_predict + self.num_prefix_tokens)), plan)
