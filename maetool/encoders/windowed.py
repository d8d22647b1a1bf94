"""The plain vision transformer with attention in windows, for images of many tokens."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.annotations import Count, Positive, Size
from maetool.errors import UsageError
from maetool.layers import (
    Attention,
    Block,
    LayerNorm,
    PatchEmbed,
    call_linear,
    check_heads,
    init_as_mae,
    pre_norm,
    run_blocks,
)
from maetool.ops.cpu import attention
from maetool.ops.device import reading_is_free
from maetool.ops.geometry import grid_of, to_size
from maetool.ops.pos_embed import positions_on, relative_positions, sincos_pos_embed
from maetool.ops.windows import from_windows, to_windows
from maetool.registry import ENCODERS
from maetool.structures import MaskPlan

from .facts import Sees, check_choice, check_images, check_plan, layer_in_blocks, small_vit


class MapAttention(Attention):
    """Multi-head attention of a map with itself, with decomposed relative positions.

    To the score of a query and a key is added the product of the query and a vector for their distance in rows, and the
    same for columns. Source: Li et al., "Improved multiscale vision transformers" (2022), section 4.1, as in ViTDet.

    Args:
        embed_dim: D.
        num_heads: heads, each of D / num_heads channels.
        rel_grid: the grid (h, w) that the relative positions are for, at first all zero; None for none. Maps of another
            size get resized ones.
    """

    def __init__(self, embed_dim: int, num_heads: int, rel_grid: Sequence[int] | None) -> None:
        super().__init__(embed_dim, num_heads)
        tables: list[nn.Parameter | None] = [None, None]
        if rel_grid is not None:
            tables = [nn.Parameter(torch.zeros(2 * side - 1, embed_dim // num_heads)) for side in rel_grid]
        self.rel_pos_h, self.rel_pos_w = tables

    def forward(self, x: Tensor) -> Tensor:
        """Return what each place of x (B, h, w, D) finds in all of them, as (B, h, w, D)."""
        size = x.shape[1:3]
        q, k, v = self._heads(call_linear(self.qkv, x.flatten(1, 2)), 3)  # (B, heads, h * w, d)
        if self.rel_pos_h is not None:
            q, k = self._placed(q, k, size)
        return call_linear(self.proj, attention(q, k, v).transpose(1, 2).flatten(2)).unflatten(1, size)

    def _placed(self, q: Tensor, k: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return queries and keys (B, heads, N, E) whose products are the scores with their positions.

        E is d + h + w, and on accelerators the next multiple of 8, which their kernels of attention want. A query gets
        its products with the relative positions of all rows and columns, a key a 1 at its own: so the scores of N x N
        pairs are never stored, and any kernel of attention will do.
        """
        (height, width), scale = size, q.shape[3] ** -0.5
        rows, columns = (
            relative_positions(self.get_parameter(f"rel_pos_{axis}"), side)
            for axis, side in zip("hw", size, strict=True)
        )
        places = q.unflatten(2, size)  # (B, heads, h, w, d)
        to_rows = torch.einsum("bnhwd,hkd->bnhwk", places, rows.to(q.dtype)).flatten(2, 3)
        to_columns = torch.einsum("bnhwd,wkd->bnhwk", places, columns.to(q.dtype)).flatten(2, 3)
        # Expanded and not repeated, which graphs of any size cannot do.
        row_of = torch.eye(height, dtype=k.dtype, device=k.device)[:, None].expand(-1, width, -1).flatten(0, 1)
        column_of = torch.eye(width, dtype=k.dtype, device=k.device).expand(height, -1, -1).flatten(0, 1)  # (N, w)
        own = torch.cat([row_of, column_of], dim=1).expand(*k.shape[:2], -1, -1)
        q, k = torch.cat([q * scale, to_rows, to_columns], dim=3), torch.cat([k, own], dim=3)
        if not reading_is_free(q):
            q, k = (functional.pad(x, (0, -x.shape[3] % 8)) for x in (q, k))
        return q * q.shape[3] ** 0.5, k  # attention divides by the root of the width


class MapBlock(Block):
    """Pre-norm transformer block on maps, with timm's names.

    Args:
        embed_dim, num_heads, mlp_ratio, drop_path: see `maetool.layers.Block`.
        window: side of the windows that attend to themselves; None, all attend to all.
        rel_grid: see `MapAttention`.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float,
        drop_path: float,
        window: int | None,
        rel_grid: Sequence[int] | None,
    ) -> None:
        super().__init__(embed_dim, num_heads, mlp_ratio, drop_path)
        self.attn, self.window = MapAttention(embed_dim, num_heads, rel_grid), window

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, h, w, D) to (B, h, w, D)."""
        normed = self.norm1(x)
        if self.window is None:
            attended = self.attn(normed)
        else:
            attended = from_windows(self.attn(to_windows(normed, self.window)), x.shape[1:3])
        x = x + self.drop_path(self.ls1(attended))
        return x + self.drop_path(self.ls2(pre_norm(self.norm2, self.mlp, x)))


@ENCODERS.register_module()
class WindowedTransformer(nn.Module):
    """ViT whose blocks attend in windows, but for a few that attend globally, with decomposed relative positions.

    Names of the weights are timm's, and `attn.rel_pos_h`, `attn.rel_pos_w`, which begin at zero: a plain ViT's weights
    load into it. There is no class token. Where a plan removes a patch, its token is zero before the position is added.
    Source: Li et al., "Exploring plain vision transformer backbones for object detection" (2022); windows are filled up
    with zeros and not masked, as in facebookresearch/detectron2, `modeling/backbone/vit.py`.

    Args:
        img_size, patch_size, in_chans, embed_dim, depth, num_heads, mlp_ratio, drop_path_rate: see `VisionTransformer`.
        window_size: side of a window, in tokens.
        global_blocks: numbers of the blocks that attend globally, counted from 0.
        rel_pos: use relative positions.
        pos_embed: "learned", or "sincos", fixed; both are resized for another grid.
        sees: "all".
        final_norm: normalise the tokens of the last block; a pyramid reads them raw and leaves it out.

    Raises:
        UsageError: sizes that do not divide, a choice that there is not, or a global block that there is not.
    """

    num_prefix_tokens = 0
    can_see = ("all",)

    def __init__(
        self,
        img_size: Size = 1024,
        patch_size: Size = 16,
        in_chans: Count = 3,
        embed_dim: Count = 768,
        depth: Count = 12,
        num_heads: Count = 12,
        mlp_ratio: Positive = 4.0,
        drop_path_rate: float = 0.0,
        window_size: Count = 14,
        global_blocks: Sequence[int] = (2, 5, 8, 11),
        rel_pos: bool = True,
        pos_embed: Literal["learned", "sincos"] = "learned",
        sees: Sees = "all",
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        check_choice("pos_embed", pos_embed, ("learned", "sincos"))
        self.sees = check_choice("sees", sees, self.can_see)
        check_heads(embed_dim, num_heads)
        _check_windows(window_size, global_blocks, depth)
        self.img_size, self.patch_size = to_size(img_size, "img_size"), to_size(patch_size, "patch_size")
        self.grid, self.stride = grid_of(self.img_size, self.patch_size), self.patch_size
        self.in_chans, self.embed_dim, self.num_layers = in_chans, embed_dim, depth
        self.patch_embed = PatchEmbed(self.patch_size, in_chans, embed_dim)
        self.pos_embed = nn.Parameter(sincos_pos_embed(embed_dim, self.grid), requires_grad=pos_embed == "learned")
        self.blocks = nn.ModuleList()
        for number in range(depth):
            window = None if number in global_blocks else window_size
            reach = self.grid if window is None else (window, window)
            rate = drop_path_rate * number / max(1, depth - 1)
            self.blocks.append(MapBlock(embed_dim, num_heads, mlp_ratio, rate, window, reach if rel_pos else None))
        self.norm = LayerNorm(embed_dim) if final_norm else nn.Identity()
        init_as_mae(self)

    def forward(
        self, images: Tensor, plan: MaskPlan | None = None, layers: Sequence[int] | None = None
    ) -> Tensor | list[Tensor]:
        """Return tokens (B, L, D).

        Args:
            images: (B, C, H, W), normalised.
            plan: what is hidden; None hides nothing.
            layers: return a list instead, the raw tokens of these layers; see `maetool.layers.run_blocks`.

        Raises:
            UsageError: another number of channels, a size that does not divide, or a plan for another grid.
        """
        grid = self.grid_of(images)
        if plan is None:
            x = self.patch_embed(images)  # (B, L, D)
        else:
            check_plan(plan, grid)
            x = self.patch_embed(images, plan.ids_keep)  # (B, V, D)
            x = plan.restore(x, x.new_zeros(1, 1, 1))  # (B, L, D)
        x = (x + positions_on(self.pos_embed, self.grid, grid)).unflatten(1, grid)  # (B, h, w, D)
        states = run_blocks(list(self.blocks), x, self.norm, layers)
        return states.flatten(1, 2) if isinstance(states, Tensor) else [one.flatten(1, 2) for one in states]

    def grid_of(self, images: Tensor) -> tuple[int, ...]:
        """Return the grid (h, w) of images (B, C, H, W).

        Raises:
            UsageError: another number of channels, or a size that does not divide.
        """
        check_images(images, self.in_chans)
        return grid_of(images.shape[2:], self.patch_size)

    def layer_of(self, name: str) -> int:
        """Return the layer of parameter `name`: 0 before the blocks, i + 1 in `blocks.i`, -1 after, with the head."""
        return layer_in_blocks(name, ("pos_embed", "patch_embed"))

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay: as ViTDet's, which decays the relative positions."""
        return {"pos_embed"}

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {**small_vit(arguments), "global_blocks": [1], "window_size": 2}


def _check_windows(window_size: int, global_blocks: Sequence[int], depth: int) -> None:
    if type(window_size) is not int or window_size < 1:
        raise UsageError(f"window_size is {window_size!r}, but must be a number of tokens, at least 1.")
    if wrong := [number for number in global_blocks if number not in range(depth)]:
        raise UsageError(
            f"global_blocks names the block {wrong[0]!r}, but there are {depth}, counted from 0: name some of 0 to "
            f"{depth - 1}."
        )
