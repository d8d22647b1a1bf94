"""The block of Swin, also for visible tokens alone."""

from math import prod
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformerBlock as TimmBlock
from torch import Tensor
from torch.nn import functional

from maetool.ops.patches import take_tokens
from maetool.ops.windows import from_windows, to_windows

from .calls import call_linear

_HIDDEN = -100.0  # what Swin adds to the products of tokens that do not see each other


class MaskedSwinBlock(TimmBlock):
    """timm's block, which also takes the visible tokens alone: nobody attends to the others."""

    attn: Any
    attn_mask: Any
    input_resolution: Any  # (h, w) of the map

    def forward(self, x: Tensor, ids: Tensor | None = None, hidden: Tensor | None = None) -> Tensor:
        """Return the output of the block, of the same shape as `x`.

        Args:
            x: maps (B, h, w, D); or with `ids` the visible tokens (B, N, D).
            ids: int64 (B, N), where on the map the tokens are.
            hidden: bool (B, h * w), True = not among them.
        """
        if ids is None or hidden is None:
            return super().forward(x)
        x = x + self.drop_path1(self._attend(self.norm1(x), ids, hidden))
        return x + self.drop_path2(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor, ids: Tensor, hidden: Tensor) -> Tensor:
        """Attend in windows of the map. Linear maps see visible tokens alone; what is hidden has a key of zeros."""
        attn, grid = self.attn, self.input_resolution
        qkv = call_linear(attn.qkv, x)  # (B, N, 3 D)
        places = ids[..., None].expand(-1, -1, qkv.shape[2])
        maps = qkv.new_zeros(len(x), prod(grid), qkv.shape[2]).scatter(1, places, qkv).unflatten(1, grid)
        q, k, v = self._cut(maps).unflatten(3, (3, attn.num_heads, -1)).permute(3, 0, 1, 4, 2, 5).unbind(0)
        bias = self._bias(self._cut(hidden.unflatten(1, grid)[..., None])[..., 0])  # (B, windows, heads, A, A)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        windows = attended.transpose(2, 3).flatten(3).flatten(0, 1).unflatten(1, self.window_size)
        maps = from_windows(windows, grid)
        maps = torch.roll(maps, self.shift_size, (1, 2)) if any(self.shift_size) else maps
        return call_linear(attn.proj, take_tokens(maps.flatten(1, 2), ids))

    def _cut(self, maps: Tensor) -> Tensor:
        """Return maps (B, h, w, D) as shifted windows (B, windows, A, D) of A tokens each."""
        if any(self.shift_size):
            maps = torch.roll(maps, [-shift for shift in self.shift_size], (1, 2))
        return to_windows(maps, self.window_size).flatten(1, 2).unflatten(0, (len(maps), -1))

    def _bias(self, hidden: Tensor) -> Tensor:
        """Return what is added to the products, (B, windows, heads, A, A), of keys hidden (B, windows, A) or not."""
        table, index = self.attn.relative_position_bias_table, self.attn.relative_position_index
        bias = table[index.flatten()].view(*index.shape, -1).movedim(2, 0)  # (heads, A, A)
        bias = bias + _HIDDEN * hidden[:, :, None, None].to(bias.dtype)
        return bias if self.attn_mask is None else bias + self.attn_mask[:, None]
