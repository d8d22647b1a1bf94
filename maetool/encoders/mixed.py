"""A vision transformer whose sequence holds the visible patches of several images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maetool.annotations import Count, Positive, Size
from maetool.errors import UsageError
from maetool.layers import run_blocks
from maetool.layers.attention import NearestKeys
from maetool.ops.groups import in_groups
from maetool.registry import ENCODERS
from maetool.structures import MaskPlan

from .facts import check_plan
from .vit import VisionTransformer


@ENCODERS.register_module()
class MixedTransformer(VisionTransformer):
    """ViT whose sequence holds what is visible of several images, which it has to tell apart.

    As many images in a row of a batch are one sequence, each with its prefix and a learned code of its number. A query
    attends only to as many keys as an image has tokens, those nearest to it in each head, so that tokens have to find
    their own image ("homologous attention"). `GroupMasker` hides so that the images of a group fill one grid. Each
    image gets its own tokens back. Where nothing is hidden, and without a plan, it is a plain ViT.
    Source: MixedAE (Chen et al., 2023).

    Args:
        img_size, patch_size, in_chans, embed_dim, depth, num_heads, mlp_ratio, drop_path_rate, final_norm: see
            `VisionTransformer`.
        images: of a sequence.
        nearest: attend only to the nearest keys; False, to all tokens of the sequence.

    Raises:
        UsageError: fewer than two images, or see `VisionTransformer`.
    """

    can_see = ("visible",)

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
        final_norm: bool = True,
        images: Count = 4,
        nearest: bool = True,
    ) -> None:
        super().__init__(
            img_size,
            patch_size,
            in_chans,
            embed_dim,
            depth,
            num_heads,
            mlp_ratio,
            drop_path_rate,
            final_norm=final_norm,
        )
        if images < 2:
            raise UsageError(f"images is {images!r}, but must be a number of images that share a sequence, at least 2.")
        self.images, self.nearest = images, nearest
        self.segment_embed = nn.Parameter(torch.empty(images, 1, embed_dim))
        nn.init.normal_(self.segment_embed, std=0.02)

    def forward(
        self, images: Tensor, plan: MaskPlan | None = None, layers: Sequence[int] | None = None
    ) -> Tensor | list[Tensor]:
        """Return tokens (B, T + V, D) of each image; arguments as in `VisionTransformer.forward`.

        Raises:
            UsageError: see there, or samples that keep different numbers of patches, or more than their share.
        """
        if plan is None or plan.num_keep == plan.layout.length:
            return super().forward(images, plan, layers)
        check_plan(plan, self.grid_of(images), ())
        self._check_share(plan)
        x, _, _ = self._embed(images, plan)  # (B, T + V, D)
        groups = [self._run_group(group, layers) for group in in_groups(x, self.images)]
        if layers is None:
            return torch.cat([tokens for (tokens,) in groups])
        return [torch.cat(level) for level in zip(*groups, strict=True)]

    def _check_share(self, plan: MaskPlan) -> None:
        share = plan.layout.length // self.images
        if plan.num_keep > share:
            raise UsageError(
                f"{self.images} images share a sequence, so that each may keep {share} of {plan.layout.length} "
                f"patches, but {plan.num_keep} are kept: use the masker GroupMasker, images={self.images}."
            )

    def _run_group(self, x: Tensor, layers: Sequence[int] | None) -> list[Tensor]:
        """Return the tokens (G * n, S, D) of some layers, or the last ones, of G groups of n images x (G, n, S, D)."""
        number, size = x.shape[1:3]
        x = (x + self.segment_embed[:number].to(x.dtype)).flatten(1, 2)  # (G, n * S, D)
        nearest = NearestKeys(size) if self.nearest and number > 1 else None
        levels = run_blocks(self.blocks, x, self.norm, layers, nearest)
        levels = [levels] if isinstance(levels, Tensor) else levels
        return [level.unflatten(1, (number, size)).flatten(0, 1) for level in levels]

    def layer_of(self, name: str) -> int:
        """Return the layer of parameter `name`; the codes of the images are of layer 0."""
        return 0 if name == "segment_embed" else super().layer_of(name)
