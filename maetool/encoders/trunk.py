"""What follows the embedding in encoders of plain transformer blocks: prefix tokens, blocks, norm."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from maetool.errors import UsageError
from maetool.layers import run_blocks, transformer_blocks
from maetool.layers.attention import QkvBias
from maetool.layers.drop_path import DropPathRate
from maetool.layers.norm import FinalNorm, NormKind, final_norm_of, norm_of
from maetool.ops.rotary import Rope
from maetool.structures import MaskPlan

# Of a plan, what each kind of encoder heeds; see `maetool.encoders.facts.check_plan`.
TAKES = {"visible": ("keep_valid",), "all": ("blank", "keep_valid"), "blank": ("blank", "keep_valid")}


class Trunk(nn.Module):
    """Base of the encoders of plain transformer blocks, with timm's attribute names.

    A subclass calls `_add_prefix` and `_add_blocks` while it is built, and `_enter` and `_run` in its forward pass.

    Attributes:
        num_prefix_tokens: T, the class token, if there is one, and registers.
        num_layers: blocks, whose tokens a decoder can read.
    """

    can_see: ClassVar[tuple[str, ...]] = ("visible", "all", "blank")
    sees: Literal["visible", "all", "blank"]
    cls_token: Tensor | None
    reg_token: Tensor | None
    norm_pre: nn.Module | None

    def _add_prefix(self, embed_dim: int, class_token: bool, num_registers: int) -> None:
        if type(num_registers) is not int or num_registers < 0:
            raise UsageError(f"num_registers is {num_registers!r}, but must be a number of tokens, at least 0.")
        self.num_prefix_tokens = int(class_token) + num_registers
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if class_token else None
        self.reg_token = nn.Parameter(torch.zeros(1, num_registers, embed_dim)) if num_registers else None

    def _add_blocks(
        self,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        drop_path_rate: DropPathRate,
        layer_scale: float | None,
        qkv_bias: QkvBias,
        qk_norm: bool,
        norm_layer: NormKind,
        pre_norm: bool,
        final_norm: FinalNorm,
        bias: bool = True,
    ) -> None:
        self.embed_dim, self.num_layers, self.head_dim = embed_dim, depth, embed_dim // num_heads
        options: Any = (drop_path_rate, layer_scale, qkv_bias, qk_norm, norm_layer, bias)
        self.norm_pre = norm_of(norm_layer)(embed_dim) if pre_norm else None
        self.blocks = transformer_blocks(embed_dim, depth, num_heads, mlp_ratio, *options)
        self.norm = final_norm_of(norm_layer, embed_dim, final_norm)
        if self.sees != "visible":
            self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))

    def _enter(self, x: Tensor, positions: Tensor | None) -> Tensor:
        """Return the prefix, with its positions (1, T, D) or (B, T, D), and tokens x (B, V, D): (B, T + V, D)."""
        if self.num_prefix_tokens:
            tokens: Any = [token for token in (self.cls_token, self.reg_token) if token is not None]
            prefix = tokens[0] if len(tokens) == 1 else torch.cat(tokens, dim=1)
            prefix = prefix if positions is None else prefix + positions
            x = torch.cat([prefix.expand(x.shape[0], -1, -1).to(x.dtype), x], dim=1)
        return x if self.norm_pre is None else self.norm_pre(x)

    def _run(
        self,
        x: Tensor,
        layers: Sequence[int] | None,
        keep: Tensor | None,
        rope: Rope | None,
        positions: Tensor | None = None,
    ) -> Tensor | list[Tensor]:
        """Return what `run_blocks` does, of tokens (B, T + V, D) whose patches `keep` (B, V) are no padding."""
        return run_blocks(self.blocks, x, self.norm, layers, self._with_prefix(keep), rope, positions)

    def _attention(
        self,
        x: Tensor,
        keep: Tensor | None,
        rope: Rope | None,
        layers: Sequence[int] | None = None,
        positions: Tensor | None = None,
    ) -> Any:
        """Return what an encoder's `attention` does, of the tokens that enter the first block."""
        keep, numbers = self._with_prefix(keep), [*(layers or []), self.num_layers - 1]
        *levels, x = run_blocks(self.blocks, x, self.norm, numbers, keep, rope, positions)
        last: Any = self.blocks[-1]
        attention = last.probabilities(x if positions is None else x + positions, keep, rope)
        return attention if layers is None else (attention, levels)

    def _with_prefix(self, keep: Tensor | None) -> Tensor | None:
        return None if keep is None else pad(keep, (self.num_prefix_tokens, 0), value=True)

    def _place_masks(self, x: Tensor, plan: MaskPlan) -> Tensor:
        """Return the tokens x (B, V, D) of `plan.ids_keep` with mask tokens where they are blank."""
        if plan.blank is None:
            return x
        return torch.where(plan.blank[..., None], self.mask_token.to(x.dtype), x)
