"""Convolutions that keep removed patches out, and then a transformer: the encoder of ConvMAE."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.annotations import Count, Positive, Size
from maetool.errors import UsageError
from maetool.layers import LayerNorm, Mlp, call_linear, init_as_mae, pre_norm, transformer_blocks
from maetool.ops.geometry import grid_of, to_size
from maetool.ops.patches import patchify, take_patches, unpatchify
from maetool.ops.pos_embed import positions_on, sincos_pos_embed
from maetool.ops.windows import from_windows
from maetool.positions import keep_positions
from maetool.registry import ENCODERS
from maetool.structures import MaskPlan

from .facts import check_choice, check_images, check_plan, layer_in_blocks, small_vit


class MaskedConvBlock(nn.Module):
    """Depthwise convolution in which removed patches are zero, between two linear maps, and then a hidden layer.

    Args:
        dim: channels.
        cells: cells of a patch along each axis.
        mlp_ratio: width of the hidden layer over `dim`.
        kernel_size: of the convolution, in cells.
    """

    def __init__(self, dim: int, cells: int, mlp_ratio: float, kernel_size: int = 5) -> None:
        super().__init__()
        self.cells = (cells, cells)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)  # PyTorch's epsilon, 1e-5, as published
        self.conv1, self.conv2 = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.attn = nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, plan: MaskPlan | None, grid: tuple[int, int]) -> Tensor:
        """Return the output of the block, of the same shape as `x`.

        Args:
            x: (B, V, cells of a patch, channels).
            plan: which patches are visible; None if all are.
            grid: (h, w) of the patches.
        """
        near = call_linear(self.conv1, self.norm1(x)).flatten(2)  # (B, V, cells * channels)
        if plan is not None:
            near = plan.restore(near, near.new_zeros(1, 1, 1))  # (B, L, cells * channels)
        near = patchify(self.attn(unpatchify(near, grid, self.cells)), self.cells)
        near = near if plan is None else plan.keep(near)
        x = x + call_linear(self.conv2, near.view_as(x))
        return x + pre_norm(self.norm2, self.mlp, x)


class MaskedConvStage(nn.Module):
    """Cells to fewer, wider cells, and blocks on them; each patch keeps its cells to itself.

    Args:
        in_dim, dim: channels before and after.
        cells: cells of a patch along each axis, after.
        depth: number of blocks.
        mlp_ratio: of the blocks.
    """

    def __init__(self, in_dim: int, dim: int, cells: int, depth: int, mlp_ratio: float) -> None:
        super().__init__()
        self.cells = cells
        self.proj, self.norm = nn.Linear(in_dim, dim), nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(MaskedConvBlock(dim, cells, mlp_ratio) for _ in range(depth))

    def forward(self, cells: Tensor, plan: MaskPlan | None, grid: tuple[int, int]) -> Tensor:
        """Return the tokens (B, V, cells of a patch, dim) of a stage.

        Args:
            cells: pictures (B, V, C, rows, columns), one for each visible patch.
            plan: which patches are visible; None if all are.
            grid: (h, w) of the patches.
        """
        x = functional.gelu(self.norm(call_linear(self.proj, _join(cells, self.cells))))  # (B, V, cells^2, dim)
        for block in self.blocks:
            x = block(x, plan, grid)
        return x


def _join(pictures: Tensor, cells: int) -> Tensor:
    """Cut pictures (B, V, C, rows, columns) into cells x cells and return each as a vector (B, V, cells^2, C * ...)."""
    rows, columns = (side // cells for side in pictures.shape[3:])
    cut = pictures.unflatten(4, (cells, columns)).unflatten(3, (cells, rows))  # (B, V, C, cells, rows, cells, columns)
    return cut.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3)


def _picture(x: Tensor, cells: int) -> Tensor:
    """Return (B, V, cells^2, C) as pictures (B, V, C, cells, cells)."""
    return x.transpose(2, 3).unflatten(3, (cells, cells))


@ENCODERS.register_module()
class HybridTransformer(nn.Module):
    """Two stages of masked convolutions on cells of a patch, then a ViT on patches.

    Whatever is not a depthwise convolution stays inside of a patch, so only visible patches are computed; to a
    convolution removed patches are zero. In pretraining the tokens are the sum of all three stages; features of whole
    images are those of the last stage. The norms of the convolutions and of the three embeddings add 1e-5 to the
    variance, the others 1e-6. Source: ConvMAE, section 3 (Alpha-VL/ConvMAE, `models_convmae.py`, `models_convvit.py`).

    Args:
        img_size: (H, W), or one number for a square: the size that is trained on. Other sizes work too.
        patch_size: (ph, pw), or one number: what is hidden, and what a token covers; 4 x 4, then 2 x 2 cells of it.
        in_chans: C.
        embed_dim: D, the width of the transformer.
        depth: blocks of the transformer.
        num_heads: attention heads of a block.
        mlp_ratio: width of a block's hidden layer over the block's.
        conv_dims: widths of the two stages of convolutions.
        conv_depths: their blocks.
        drop_path_rate: drop path of the transformer's last block; it rises linearly from 0.
        fuse: when the two stages of convolutions are added to the last one: "pretraining", where a plan removes
            patches, as published; "always", also for features, as in maetool 0.1.0, whose classifiers need it.
        final_norm: normalise the tokens of the last block; a pyramid of stages reads them raw and leaves it out.

    Attributes:
        stage_dims: channels of the map of each stage.
        stage_strides: pixels (rows, columns) that a place of each of these maps covers.
        pretraining_only: names of the parts that features of whole images do not use.
        earlier_options: by version of maetool, the arguments with which features are what they were in that version.

    Raises:
        UsageError: sizes that do not divide, a patch that is not a multiple of 4 pixels, or an unknown choice.
    """

    num_prefix_tokens, num_layers = 0, 0
    sees, can_see = "visible", ("visible",)
    earlier_options: ClassVar = {"0.1.0": {"fuse": "always"}}

    pos_embed: Tensor

    def __init__(
        self,
        img_size: Size = 224,
        patch_size: Size = 16,
        in_chans: Count = 3,
        embed_dim: Count = 768,
        depth: Count = 11,
        num_heads: Count = 12,
        mlp_ratio: Positive = 4.0,
        conv_dims: Sequence[int] = (256, 384),
        conv_depths: Sequence[int] = (2, 2),
        drop_path_rate: float = 0.0,
        fuse: Literal["pretraining", "always"] = "pretraining",
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        self.fuse = check_choice("fuse", fuse, ("pretraining", "always"))
        self.pretraining_only = ("fuse1", "fuse2") if fuse == "pretraining" else ()
        self.img_size, self.patch_size = to_size(img_size, "img_size"), to_size(patch_size, "patch_size")
        if any(side % 4 for side in self.patch_size):
            raise UsageError(
                f"patch_size is {self.patch_size}, but HybridTransformer halves it twice: use multiples of 4."
            )
        self.grid, self.stride = grid_of(self.img_size, self.patch_size), self.patch_size
        self.in_chans, self.embed_dim = in_chans, embed_dim
        (first, second), pixels = conv_dims, self.patch_size[0] * self.patch_size[1] // 16
        self.stage1 = MaskedConvStage(in_chans * pixels, first, 4, conv_depths[0], mlp_ratio)
        self.stage2 = MaskedConvStage(4 * first, second, 2, conv_depths[1], mlp_ratio)
        self.stage3 = MaskedConvStage(4 * second, embed_dim, 1, 0, mlp_ratio)
        self.proj = nn.Linear(embed_dim, embed_dim)
        self.fuse1, self.fuse2 = nn.Linear(16 * first, embed_dim), nn.Linear(4 * second, embed_dim)
        keep_positions(self, sincos_pos_embed(embed_dim, self.grid))
        self.blocks = transformer_blocks(embed_dim, depth, num_heads, mlp_ratio, drop_path_rate)
        self.norm = LayerNorm(embed_dim) if final_norm else nn.Identity()
        self.stage_dims = (first, second, embed_dim)
        self.stage_strides = [tuple(side // cells for side in self.patch_size) for cells in (4, 2, 1)]
        self._init_weights()

    def _init_weights(self) -> None:
        """Initialise as published: linear maps as MAE does, and what is a convolution there as PyTorch does."""
        init_as_mae(self)
        convolutions = (*self.stage1.modules(), *self.stage2.modules(), self.stage3.proj, self.fuse1, self.fuse2)
        for part in convolutions:
            if isinstance(part, nn.Linear):
                part.reset_parameters()
        nn.init.xavier_uniform_(self.stage3.proj.weight)

    def forward(self, images: Tensor, plan: MaskPlan | None = None) -> Tensor:
        """Return the tokens (B, V, D) of the visible patches, or (B, L, D) of all without a plan.

        The stages are summed where the plan removes patches; see `fuse`.

        Args:
            images: (B, C, H, W), normalised.
            plan: what is visible; None hides nothing.

        Raises:
            UsageError: another number of channels, a size that does not divide, or a plan for another grid.
        """
        grid = self.grid_of(images)
        if plan is not None:
            check_plan(plan, grid)
        ids = torch.arange(grid[0] * grid[1], device=images.device).expand(images.shape[0], -1)
        ids = ids if plan is None else plan.ids_keep
        fine, coarse, x = self._stages(images, plan, ids, grid)
        if self.fuse == "always" or ids.shape[1] < grid[0] * grid[1]:
            x = x + call_linear(self.fuse1, _picture(fine, 4).flatten(2))  # (B, V, D)
            x = x + call_linear(self.fuse2, _picture(coarse, 2).flatten(2))
        return self.norm(x)

    def _stages(
        self, images: Tensor, plan: MaskPlan | None, ids: Tensor, grid: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tokens of each stage at the patches `ids` (B, V): (B, V, 16, C1), (B, V, 4, C2) and (B, V, D)."""
        fine, coarse, x = self._enter(images, plan, ids, grid)
        for block in self.blocks:
            x = block(x)
        return fine, coarse, x

    def _enter(
        self, images: Tensor, plan: MaskPlan | None, ids: Tensor, grid: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tokens of the stages of convolutions, and those that enter the transformer; see `_stages`."""
        fine = self.stage1(take_patches(images, self.patch_size, ids), plan, grid)
        coarse = self.stage2(_picture(fine, 4), plan, grid)
        x = call_linear(self.proj, self.stage3(_picture(coarse, 2), plan, grid)[:, :, 0])
        return fine, coarse, x + functional.embedding(ids, positions_on(self.pos_embed, self.grid, grid)[0])

    def attention(self, images: Tensor, layers: Sequence[int] | None = None) -> Any:
        """Return the attention of the last block in whole images, (B, heads, L, L), queries in rows.

        Args:
            images: (B, C, H, W), normalised.
            layers: return a pair instead, with the raw tokens of the last layer, -1, as often as it is named.

        Raises:
            UsageError: another layer than the last one.
        """
        if layers is not None and set(layers) - {-1}:
            raise UsageError(f"layers is {list(layers)}, but HybridTransformer gives its last layer alone: use [-1].")
        grid = self.grid_of(images)
        ids = torch.arange(grid[0] * grid[1], device=images.device).expand(images.shape[0], -1)
        parts: list[Any] = list(self.blocks)
        *blocks, last = parts
        x = self._enter(images, None, ids, grid)[2]
        for block in blocks:
            x = block(x)
        attention = last.probabilities(x)
        return attention if layers is None else (attention, [last(x)] * len(layers))

    def stages(self, images: Tensor) -> list[Tensor]:
        """Return what leaves each stage as maps (B, C, rows, columns), raw, the finest first.

        Args:
            images: (B, C, H, W), normalised, of which nothing is hidden.

        Raises:
            UsageError: another number of channels, or a size that does not divide.
        """
        grid = self.grid_of(images)
        ids = torch.arange(grid[0] * grid[1], device=images.device).expand(images.shape[0], -1)
        maps = []
        for x, cells in zip(self._stages(images, None, ids, grid), (4, 2, 1), strict=True):
            patches = x.reshape(-1, cells, cells, x.shape[-1])  # (B * L, cells, cells, C)
            maps.append(from_windows(patches, [side * cells for side in grid]).permute(0, 3, 1, 2))
        return maps

    def grid_of(self, images: Tensor) -> tuple[int, ...]:
        """Return the grid (h, w) of images (B, C, H, W).

        Raises:
            UsageError: another number of channels, or a size that does not divide.
        """
        check_images(images, self.in_chans)
        return grid_of(images.shape[2:], self.patch_size)

    def layer_of(self, name: str) -> int:
        """Return the layer of parameter `name`: 0 in the convolutions, i + 1 in `blocks.i`, -1 after, with the head.

        Source: `util/lr_decay.py` of Alpha-VL/ConvMAE.
        """
        return layer_in_blocks(name, ("stage1", "stage2", "stage3", "proj"), ("fuse1", "fuse2", "norm"))

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay: none beside biases and norms, positions being fixed."""
        return set()

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {**small_vit(arguments), "conv_dims": [8] * len(arguments["conv_dims"])}
