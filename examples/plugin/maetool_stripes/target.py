"""A target that asks for one colour of each patch."""

from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.ops.geometry import to_size
from maetool.ops.patches import take_patches
from maetool.registry import TARGETS
from maetool.structures import MaskPlan


@TARGETS.register_module()
class MeanColourTarget(nn.Module):
    """The mean of each channel over a patch.

    Args:
        patch_size: (ph, pw), or one number; the model fills in the encoder's.
        in_chans: C; so too.

    Attributes:
        out_dim: P = C.
        invertible: True, `invert` paints each patch in its colour.
    """

    invertible = True

    def __init__(self, patch_size: int | Sequence[int], in_chans: int = 3) -> None:
        super().__init__()
        self.patch_size, self.out_dim = to_size(patch_size, "patch_size"), in_chans

    @torch.no_grad()
    def forward(self, images: Tensor, plan: MaskPlan) -> Tensor:
        """Return the float32 target (B, M, C) of images (B, C, H, W) at `plan.ids_predict`."""
        patches = take_patches(images, self.patch_size, plan.ids_predict)  # (B, M, C, ph, pw)
        return patches.float().mean(dim=(3, 4))  # (B, M, C)

    def picture(self, images: Tensor) -> Tensor:
        """Return the images (B, C, H, W) whose patches are the target: each patch in its colour."""
        colours = functional.avg_pool2d(images.float(), self.patch_size)  # (B, C, h, w)
        return functional.interpolate(colours, size=images.shape[2:], mode="nearest")

    def invert(
        self, pred: Tensor, images: Tensor, plan: MaskPlan, statistics: Literal["true", "visible"] = "true"
    ) -> Tensor:
        """Return predictions (B, M, C) as pixels (B, M, ph * pw * C), ordered row, column, channel."""
        return pred.float().repeat(1, 1, prod(self.patch_size))
