"""The plain vision transformer, which drops the removed patches or puts a mask token in their place."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.annotations import Count, Positive, Size
from maetool.layers import LayerNorm, PatchEmbed, init_as_mae, run_blocks, transformer_blocks
from maetool.ops.geometry import grid_of, to_size
from maetool.ops.pos_embed import positions_on, sincos_pos_embed
from maetool.registry import ENCODERS
from maetool.structures import MaskPlan

from .facts import Sees, check_choice, check_images, check_plan, layer_in_blocks, small_vit


@ENCODERS.register_module()
class VisionTransformer(nn.Module):
    """ViT with timm's attribute names, so that its weights load in timm's `VisionTransformer` as they are.

    It owns the facts that the other parts need: patch size, channels, grid and width.

    Args:
        img_size: (H, W), or one number for a square: the size that is trained on. Other sizes work too.
        patch_size: (ph, pw), or one number.
        in_chans: C.
        embed_dim: D.
        depth: number of blocks.
        num_heads: attention heads of a block.
        mlp_ratio: width of a block's hidden layer over D.
        drop_path_rate: drop path of the last block; it rises linearly from 0.
        pos_embed: "sincos", fixed, or "learned"; both are resized for another grid, see `maetool.ops.pos_embed`.
        sees: "visible", removed patches are dropped (MAE); or "all", a learned mask token takes their place before the
            position is added (BEiT, MaskFeat, SimMIM).
        layer_scale: where learned factors of the channels of each branch begin; None, there are none.
        final_norm: normalise the tokens of the last block; leave it out for decoders that read the blocks' raw tokens.

    Attributes:
        stride: pixels of a token along each axis; here the patch.
        num_layers: blocks, whose tokens a decoder can read.

    Raises:
        UsageError: sizes that do not divide, or a choice that there is not.
    """

    num_prefix_tokens = 1
    can_see = ("visible", "all")

    def __init__(
        self,
        img_size: Size = 224,
        patch_size: Size = 16,
        in_chans: Count = 3,
        embed_dim: Count = 768,
        depth: Count = 12,
        num_heads: Count = 12,
        mlp_ratio: Positive = 4.0,
        drop_path_rate: float = 0.0,
        pos_embed: Literal["sincos", "learned"] = "sincos",
        sees: Sees = "visible",
        layer_scale: float | None = None,
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        check_choice("pos_embed", pos_embed, ("sincos", "learned"))
        self.sees = check_choice("sees", sees, self.can_see)
        self.img_size, self.patch_size = to_size(img_size, "img_size"), to_size(patch_size, "patch_size")
        self.grid, self.stride = grid_of(self.img_size, self.patch_size), self.patch_size
        self.in_chans, self.embed_dim, self.num_layers = in_chans, embed_dim, depth
        self.patch_embed = PatchEmbed(self.patch_size, in_chans, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        table = sincos_pos_embed(embed_dim, self.grid, self.num_prefix_tokens)
        self.pos_embed = nn.Parameter(table, requires_grad=pos_embed == "learned")
        self.blocks = transformer_blocks(embed_dim, depth, num_heads, mlp_ratio, drop_path_rate, layer_scale)
        self.norm = LayerNorm(embed_dim) if final_norm else nn.Identity()
        if sees == "all":
            self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        init_as_mae(self)

    def forward(
        self, images: Tensor, plan: MaskPlan | None = None, layers: Sequence[int] | None = None
    ) -> Tensor | list[Tensor]:
        """Return tokens (B, T + V, D), the prefix first: of the visible patches, or (B, T + L, D) if it sees all.

        Args:
            images: (B, C, H, W), normalised.
            plan: what is visible; None hides nothing, and the tokens equal timm's `forward_features`.
            layers: return a list instead, the raw tokens of these layers; see `maetool.layers.run_blocks`.

        Raises:
            UsageError: another number of channels, a size that does not divide, or a plan for another grid.
        """
        grid = self.grid_of(images)
        table = positions_on(self.pos_embed, self.grid, grid, self.num_prefix_tokens)
        prefix, cells = table.split([self.num_prefix_tokens, grid[0] * grid[1]], dim=1)
        if plan is None:
            x = self.patch_embed(images) + cells  # (B, L, D)
        else:
            check_plan(plan, grid)
            x = self.patch_embed(images, plan.ids_keep)  # (B, V, D), the removed patches are never embedded
            if self.sees == "visible":
                x = x + functional.embedding(plan.ids_keep, cells[0])
            else:
                x = plan.restore(x, self.mask_token) + cells  # (B, L, D)
        x = torch.cat([(self.cls_token + prefix).expand(x.shape[0], -1, -1).to(x.dtype), x], dim=1)  # (B, T + V, D)
        return run_blocks(list(self.blocks), x, self.norm, layers)

    def grid_of(self, images: Tensor) -> tuple[int, ...]:
        """Return the grid (h, w) of images (B, C, H, W).

        Raises:
            UsageError: another number of channels, or a size that does not divide.
        """
        check_images(images, self.in_chans)
        return grid_of(images.shape[2:], self.patch_size)

    def layer_of(self, name: str) -> int:
        """Return the layer of a parameter: 0 before the blocks, i + 1 in `blocks.i`, -1 after them, with the head.

        Source: `util/lr_decay.py` of facebookresearch/mae.
        """
        return layer_in_blocks(name, ("cls_token", "pos_embed", "mask_token", "patch_embed"))

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay, beside biases and norms.

        With mask tokens, positions and class token: the lists of BEiT and SimMIM, which decay the mask token. MAE's
        pretraining decays the class token; its positions are fixed.
        """
        return {"pos_embed", "cls_token"} if self.sees == "all" else {"pos_embed"}

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return small_vit(arguments)
