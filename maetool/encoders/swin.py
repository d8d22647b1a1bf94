"""Swin out of timm's stages: with mask tokens, or with the visible patches alone."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from timm.layers.drop import DropPath as TimmDropPath
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from timm.models.swin_transformer import SwinTransformerBlock as TimmBlock
from torch import Tensor, nn

from maetool.annotations import Count, Positive, Size
from maetool.errors import UsageError
from maetool.layers import embed_patches, find_layers, init_as_mae
from maetool.layers.drop_path import replace_drop_path
from maetool.layers.swin import MaskedSwinBlock
from maetool.ops.geometry import format_size, grid_of, to_size
from maetool.ops.patches import cell_ids
from maetool.ops.windows import to_windows
from maetool.registry import ENCODERS
from maetool.structures import MaskPlan

from .facts import check_choice, check_images, check_plan, check_size, check_stride, relative_tables


@ENCODERS.register_module()
class SwinTransformer(nn.Module):
    """Swin with timm's attribute names.

    With `sees="all"`, a learned mask token takes the place of each removed patch. Plans are made of the first patches,
    of 4 pixels; the last tokens cover 32. A masker must hide whole tokens (`AlignedMasker(unit=8)`), and a
    `LinearDecoder` predicts all patches of a token at once. Source: SimMIM, section 3 (microsoft/SimMIM,
    `models/simmim.py`).

    With `sees="visible"`, a patch of the plan is what a last token covers, 32 pixels, and nothing but the visible ones
    is computed; the attention of a window leaves the others out. Layer 0 is what enters the first stage, layer i what
    enters stage i + 1, merged, and the last one what leaves the last stage. Weights begin as MAE's. Source: GreenMIM
    (LayneH/GreenMIM), which gathers the tokens of several windows where ours places them on the map: the numbers are
    the same.

    Args:
        img_size: (H, W), or one number for a square: the only size that it takes.
        patch_size: (ph, pw), or one number, of the first patches.
        in_chans: C.
        embed_dim: width of the first stage; each next one doubles it, so D is 8 times that of four stages.
        depths: blocks of each stage.
        num_heads: attention heads of each stage.
        window_size: tokens of an attention window along each axis.
        mlp_ratio: width of a block's hidden layer over the stage's.
        drop_path_rate: drop path of the last block; it rises linearly from 0.
        sees: "all" or "visible".
        norm_eps: what the norms add to the variance.

    Attributes:
        patch_size: of the patches of plans, (ph, pw); with sees="visible" that of the last tokens.
        num_layers: layers that can be read beside layer 0; 0 with sees="all".
        layer_dims: width of each layer.
        layer_cells: tokens of a patch in each layer, along each axis. Those of a patch come one after another.

    Raises:
        UsageError: sizes that do not divide, also by the last tokens, or with sees="visible" by the windows.
    """

    num_prefix_tokens = 0
    can_see = ("all", "visible")
    one_size = True  # of the images that it takes
    patch_embed: Any  # timm's

    def __init__(
        self,
        img_size: Size = 192,
        patch_size: Size = 4,
        in_chans: Count = 3,
        embed_dim: Count = 128,
        depths: Sequence[Count] = (2, 2, 18, 2),
        num_heads: Sequence[Count] = (4, 8, 16, 32),
        window_size: Count = 6,
        mlp_ratio: Positive = 4.0,
        drop_path_rate: float = 0.0,
        sees: Literal["all", "visible"] = "all",
        norm_eps: Positive = 1e-5,
    ) -> None:
        super().__init__()
        self.sees = check_choice("sees", sees, self.can_see)
        self.in_chans, self.depths, self.window_size = in_chans, tuple(depths), to_size(window_size, "window_size")
        options: Any = {"norm_layer": partial(nn.LayerNorm, eps=norm_eps)}
        options |= self._lay_out(to_size(img_size, "img_size"), to_size(patch_size, "patch_size"), embed_dim)
        swin = TimmSwin(
            in_chans=in_chans,
            num_classes=0,
            embed_dim=embed_dim,
            depths=self.depths,
            num_heads=tuple(num_heads),
            window_size=window_size,
            mlp_ratio=mlp_ratio,
            drop_path_rate=drop_path_rate,
            **options,
        )
        replace_drop_path(swin, TimmDropPath)
        self.embed_dim = swin.num_features
        self.patch_embed, self.layers, self.norm = swin.patch_embed, swin.layers, swin.norm
        for block in swin.modules():
            if type(block) is TimmBlock:
                block.__class__ = MaskedSwinBlock  # timm builds its stages with no other class
        if sees == "all":
            self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
            nn.init.trunc_normal_(self.mask_token, std=0.02)
        else:
            init_as_mae(self)
            nn.init.xavier_uniform_(self.patch_embed.proj.weight.view(embed_dim, -1))

    def _lay_out(self, img_size: tuple[int, ...], first: tuple[int, ...], embed_dim: int) -> dict[str, Any]:
        """Set where the tokens lie, and return the sizes that timm's model takes."""
        numbers = range(len(self.depths))
        cells = [2 ** (len(self.depths) - 1 - number) for number in numbers]
        self.img_size, self.embed_grid, self._first = img_size, grid_of(img_size, first), first
        self.stride = tuple(side * cells[0] for side in first)
        check_stride(img_size, self.stride)
        self.patch_size, self.num_layers = first, 0
        if self.sees == "visible":
            self.patch_size, self.num_layers = self.stride, len(self.depths)
            self.layer_dims = tuple(embed_dim * 2 ** min(number, numbers[-1]) for number in range(len(self.depths) + 1))
            self.layer_cells = tuple((number, number) for number in (*cells, 1))
            _check_windows(self.embed_grid, len(self.depths), self.window_size)
        self.grid = grid_of(img_size, self.patch_size)
        return {"img_size": img_size, "patch_size": first}

    def forward(
        self, images: Tensor, plan: MaskPlan | None = None, layers: Sequence[int] | None = None
    ) -> Tensor | list[Tensor]:
        """Return the tokens (B, N, D) of images (B, C, H, W), each of `stride` pixels: all, or the visible ones.

        Args:
            images: (B, C, H, W), normalised.
            plan: what is hidden; None hides nothing.
            layers: return a list instead, the raw tokens of these layers, (B, N * cells, width) each.

        Raises:
            UsageError: images of another size or number of channels, a plan for another grid, or layers that there are
                not.
        """
        grid = self.grid_of(images)
        numbers = None if layers is None else find_layers(layers, self.num_layers)
        if plan is not None:
            check_plan(plan, grid)
        if plan is not None and self.sees == "visible":
            levels = self._layers_of_visible(images, plan)
            return self.norm(levels[-1]) if numbers is None else [levels[number] for number in numbers]
        x = self._maps(images, plan)
        if numbers is None:
            return self.norm(self.layers(x)).flatten(1, 2)  # (B, N, D)
        return self._layers_of_maps(x, numbers)

    @property
    def _stages(self) -> list[Any]:
        return list(self.layers.children())  # timm's, with `downsample` and `blocks`

    def _maps(self, images: Tensor, plan: MaskPlan | None) -> Tensor:
        """Return what enters the first stage, maps (B, h, w, C0)."""
        if plan is None:
            return self.patch_embed(images)
        x = self._embed(images, plan.ids_keep)  # (B, V, C0)
        return plan.restore(x, self.mask_token).unflatten(1, self.embed_grid)

    def _embed(self, images: Tensor, ids: Tensor) -> Tensor:
        """Return the tokens (B, N, C0) of the first patches `ids` (B, N)."""
        return self.patch_embed.norm(embed_patches(self.patch_embed.proj, images, ids, self._first))

    def _layers_of_maps(self, x: Tensor, numbers: Sequence[int]) -> list[Tensor]:
        """Return the tokens of layers, those of a patch one after another, of maps x (B, h, w, C0)."""
        levels: list[Tensor] = []
        for stage in self._stages:
            levels.append(stage.downsample(x))
            x = stage.blocks(levels[-1])
        levels.append(x)
        windows = [to_windows(levels[number], self.layer_cells[number]) for number in numbers]
        return [each.unflatten(0, (len(x), -1)).flatten(1, 3) for each in windows]

    def _layers_of_visible(self, images: Tensor, plan: MaskPlan) -> list[Tensor]:
        """Return the tokens of all layers, those of a visible patch one after another; nothing else is computed."""
        levels: list[Tensor] = []
        x = self._embed(images, cell_ids(plan.ids_keep, plan.grid, self.layer_cells[0]))
        for cells, stage in zip(self.layer_cells[:-1], self._stages, strict=True):
            if levels:  # maps of all rows of all patches, in which neighbours are of one patch
                x = stage.downsample(x.unflatten(1, (-1, 2 * cells[1]))).flatten(1, 2)
            levels.append(x)
            ids, size = (
                cell_ids(plan.ids_keep, plan.grid, cells),
                [g * c for g, c in zip(plan.grid, cells, strict=True)],
            )
            hidden = plan.mask_at(size).flatten(1)
            for block in stage.blocks:
                x = block(x, ids, hidden)
        return [*levels, x]

    def grid_of(self, images: Tensor) -> tuple[int, ...]:
        """Return the grid (h, w) of the patches of images (B, C, H, W).

        Raises:
            UsageError: another size or number of channels.
        """
        check_images(images, self.in_chans)
        check_size(images, self.img_size)
        return self.grid

    def layer_of(self, name: str) -> int:
        """Return the layer of parameter `name`: 0 before the blocks, then one a block through all stages, -1 after.

        The map between two stages belongs to the last block before it. Source: `optimizer.py` of microsoft/SimMIM.
        """
        if not name.startswith("layers."):
            return -1 if name.startswith("norm.") else 0
        stage, part, block = name.split(".")[1:4]
        return sum(self.depths[: int(stage)]) + (int(block) + 1 if part == "blocks" else 0)

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay: mask token and relative positions, SimMIM's list for Swin."""
        return {*(["mask_token"] if self.sees == "all" else []), *relative_tables(self)}

    def relative_windows(self, grid: tuple[int, int]) -> dict[str, tuple[int, int]]:
        """Return the window of each table of relative positions, which a small grid cuts in the late stages.

        Args:
            grid: (h, w) of the first patches, `embed_grid`.
        """
        windows = {}
        for name in relative_tables(self):
            stage = int(name.split(".")[1])
            sides = zip(grid, self.window_size, strict=True)
            windows[name] = tuple(min(side // 2**stage, window) for side, window in sides)
        return windows

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        patch_size, stages = to_size(arguments["patch_size"], "patch_size"), len(arguments["depths"])
        return {
            "img_size": tuple(4 * side * 2 ** (stages - 1) for side in patch_size),
            "embed_dim": 16 * arguments["num_heads"][0],
            "depths": [1] * stages,
            **({"window_size": 4} if arguments["sees"] == "visible" else {}),  # the map is cut into whole windows
        }


def _check_windows(grid: Sequence[int], stages: int, window: Sequence[int]) -> None:
    """Check that windows divide the map of each stage: what timm fills up would be seen by whole images only."""
    for number in range(stages):
        sides = [side // 2**number for side in grid]
        if any(side % min(side, own) for side, own in zip(sides, window, strict=True)):
            raise UsageError(
                f"Windows of {format_size(window)} tokens do not divide the {format_size(sides)} tokens of stage "
                f'{number + 1}, as sees="visible" needs: choose an encoder.window_size that divides each side, or '
                "encoder.img_size to another."
            )
