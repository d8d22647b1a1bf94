"""Patches replaced by codes."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from maetool.annotations import Count, Size
from maetool.ops.kmeans import nearest_centroids
from maetool.ops.patches import patchify, unpatchify
from maetool.ops.random import KeyedRandom
from maetool.registry import CORRUPTIONS, TARGETS
from maetool.structures import MaskPlan

from .base import Corruption


@CORRUPTIONS.register_module()
class NearestCodeCorruption(Corruption):
    """Replaces the visible patches that are predicted by their nearest code.

    A masker chooses them: see `AlsoVisibleMasker`. Source: CCViT (Cakeyan/CCViT_Public), where 20 of 196 patches are
    replaced.

    Args:
        codebook: file of `maetool fit_centroids`, fitted on the pixels of `PictureTarget`.
        patch_size: (ph, pw), or one number.
        in_chans: C.
        mean, std: of each channel, in stored units, how the images are normalised; the preprocessor's are filled in.

    Raises:
        UsageError: no such file, or one of other patches.
    """

    codebook: Tensor
    debug_arguments: ClassVar = {"codebook": 8}  # drawn, because a file's would not fit

    def __init__(
        self,
        codebook: str | int,
        patch_size: Size,
        in_chans: Count = 3,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        source = {"type": "PictureTarget", "norm_pix_loss": False}
        facts = {"patch_size": patch_size, "in_chans": in_chans, "mean": mean, "std": std}
        tokens: Any = TARGETS.build({"type": "TokenTarget", "codebook": codebook, "source": source, **facts})
        self.patch_size, self.picture = tokens.source.patch_size, tokens.source
        self.register_buffer("codebook", tokens.codebook, persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor, plan: MaskPlan, rng: KeyedRandom) -> Tensor:
        """Return images (B, C, H, W) in which the visible patches to predict are their nearest codes."""
        patches = self.picture(images, plan)  # (B, M, P), of the picture
        _, nearest = nearest_centroids(patches.flatten(0, 1), self.codebook)
        codes = self.codebook[nearest].view_as(patches)
        pixels = self.picture.invert(codes, images, plan)  # (B, M, P), normalised as the images
        tokens = patchify(images, self.patch_size)
        seen = ~plan.mask.gather(1, plan.ids_predict)[..., None]
        changed = torch.where(seen, pixels.to(tokens.dtype), plan.take_predicted(tokens))
        return unpatchify(plan.scatter(changed, tokens), plan.grid, self.patch_size)
