"""Swin with mask tokens, out of timm's stages."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from timm.layers.drop import DropPath as TimmDropPath
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from torch import Tensor, nn

from maetool.annotations import Count, Positive, Size
from maetool.layers import embed_patches
from maetool.layers.drop_path import replace_drop_path
from maetool.ops.geometry import grid_of, to_size
from maetool.registry import ENCODERS
from maetool.structures import MaskPlan

from .facts import check_images, check_plan, check_size, check_stride, relative_tables


@ENCODERS.register_module()
class SwinTransformer(nn.Module):
    """Swin with timm's attribute names; a learned mask token takes the place of each removed patch.

    Plans are made of its first patches, of 4 pixels; its last tokens cover 32. A masker must hide whole tokens
    (`AlignedMasker(unit=8)`), and a `LinearDecoder` predicts all patches of a token at once.
    Source: SimMIM, section 3 (microsoft/SimMIM, `models/simmim.py`).

    Args:
        img_size: (H, W), or one number for a square: the only size that it takes.
        patch_size: (ph, pw), or one number.
        in_chans: C.
        embed_dim: width of the first stage; each next one doubles it, so D is 8 times that of four stages.
        depths: blocks of each stage.
        num_heads: attention heads of each stage.
        window_size: tokens of an attention window along each axis.
        mlp_ratio: width of a block's hidden layer over the stage's.
        drop_path_rate: drop path of the last block; it rises linearly from 0.

    Raises:
        UsageError: sizes that do not divide, also by the last tokens.
    """

    num_prefix_tokens, num_layers = 0, 0
    sees, can_see = "all", ("all",)
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
    ) -> None:
        super().__init__()
        self.img_size, self.patch_size = to_size(img_size, "img_size"), to_size(patch_size, "patch_size")
        self.grid, self.in_chans = grid_of(self.img_size, self.patch_size), in_chans
        self.stride = tuple(side * 2 ** (len(depths) - 1) for side in self.patch_size)
        check_stride(self.img_size, self.stride)
        sizes: dict[str, Any] = {"img_size": self.img_size, "patch_size": self.patch_size}
        swin = TimmSwin(
            **sizes,
            in_chans=in_chans,
            num_classes=0,
            embed_dim=embed_dim,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            window_size=window_size,
            mlp_ratio=mlp_ratio,
            drop_path_rate=drop_path_rate,
        )
        replace_drop_path(swin, TimmDropPath)
        self.embed_dim, self.depths = swin.num_features, tuple(depths)
        self.window_size = to_size(window_size, "window_size")
        self.patch_embed, self.layers, self.norm = swin.patch_embed, swin.layers, swin.norm
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, images: Tensor, plan: MaskPlan | None = None) -> Tensor:
        """Return the tokens (B, N, D) of images (B, C, H, W), N of them, each of `stride` pixels.

        Raises:
            UsageError: images of another size or number of channels, or a plan for another grid.
        """
        grid = self.grid_of(images)
        if plan is None:
            x = self.patch_embed(images)  # (B, h, w, C0)
        else:
            check_plan(plan, grid)
            x = embed_patches(self.patch_embed.proj, images, plan.ids_keep, self.patch_size)
            x = self.patch_embed.norm(x)  # (B, V, C0)
            x = plan.restore(x, self.mask_token).unflatten(1, grid)  # (B, h, w, C0)
        return self.norm(self.layers(x)).flatten(1, 2)  # (B, N, D)

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
        return {"mask_token", *relative_tables(self)}

    def relative_windows(self, grid: tuple[int, int]) -> dict[str, tuple[int, int]]:
        """Return the window of each table of relative positions on a grid (h, w), which cuts it in the late stages."""
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
        }
