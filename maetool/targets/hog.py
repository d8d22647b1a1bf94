"""Histograms of oriented gradients as target."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from maetool.annotations import Count, Size
from maetool.errors import UsageError
from maetool.ops.geometry import format_size, to_size
from maetool.ops.hog import gaussian_window as gaussian
from maetool.ops.hog import gradients, orientation_histograms
from maetool.ops.patches import take_patches, take_windows, unravel
from maetool.registry import TARGETS
from maetool.structures import MaskPlan


@TARGETS.register_module()
class HOGTarget(nn.Module):
    """Histograms of oriented gradients (HOG) of the cells of a patch, ordered channel, orientation, row, column.

    Each histogram has unit length; one without any gradient is zero. Computed only where a prediction is asked for.
    Source: MaskFeat, section 3.2 (facebookresearch/SlowFast, `slowfast/models/operators.py`, and mmpretrain's
    `HOGGenerator`, whose Gaussian window is 16).

    Args:
        patch_size: (ph, pw), or one number.
        in_chans: C, each with histograms of its own.
        nbins: orientations in a half turn.
        cell_size: pixels of a cell, one number or a pair; it divides the patch, or else patches divide it, and
            those of a cell share its histogram. By default half a patch.
        gaussian_window: pixels of a square that is laid over the image again and again and weighs its pixels by a
            Gaussian; 0 weighs all alike.

    Attributes:
        out_dim: P = C * nbins * cells of a patch.
        invertible: False, there is no way back to pixels.

    Raises:
        UsageError: cells that neither divide the patch nor are made of patches, or numbers that are not positive.
    """

    invertible = False
    gaussian: Tensor

    def __init__(
        self,
        patch_size: Size,
        in_chans: Count = 3,
        nbins: int = 9,
        cell_size: int | Sequence[int] | None = None,
        gaussian_window: int = 0,
    ) -> None:
        super().__init__()
        self.patch_size = to_size(patch_size, "patch_size")
        half = tuple(max(1, side // 2) for side in self.patch_size)
        self.cell_size = half if cell_size is None else to_size(cell_size, "cell_size")
        self.window = tuple(map(max, self.patch_size, self.cell_size))
        if any(w % p or w % c for w, p, c in zip(self.window, self.patch_size, self.cell_size, strict=True)):
            raise UsageError(
                f"HOG cells of {format_size(self.cell_size)} pixels do not divide patches of "
                f"{format_size(self.patch_size)}: set "
                "target.cell_size to a divisor of the patch size, or to a multiple."
            )
        if nbins < 1 or gaussian_window < 0 or gaussian_window == 1:
            raise UsageError(
                f"nbins is {nbins} and gaussian_window {gaussian_window}, but nbins must be at least 1, and the window "
                "0 for none or at least 2 pixels."
            )
        self.nbins, self.gaussian_window = nbins, gaussian_window
        if gaussian_window:
            self.register_buffer("gaussian", gaussian(gaussian_window), persistent=False)
        cells = prod(w // c for w, c in zip(self.window, self.cell_size, strict=True))
        self.out_dim = in_chans * nbins * cells

    @torch.no_grad()
    def forward(self, images: Tensor, plan: MaskPlan) -> Tensor:
        """Return the float32 target (B, M, P) of images (B, C, H, W) at `plan.ids_predict`."""
        ids = self._window_ids(plan)
        windows = take_windows(images.float(), self.window, ids, border=1)  # (B, M, C, ph + 2, pw + 2)
        histograms = orientation_histograms(*gradients(windows), self._weight(images, ids), self.nbins, self.cell_size)
        return histograms.flatten(2)  # (B, M, P), from (B, M, C, nbins, rows, columns)

    def _window_ids(self, plan: MaskPlan) -> Tensor:
        """Return which window holds each predicted patch, (B, M)."""
        patches = [w // p for w, p in zip(self.window, self.patch_size, strict=True)]
        row, column = unravel(plan.ids_predict, plan.grid)
        return row // patches[0] * (plan.grid[1] // patches[1]) + column // patches[1]

    def _weight(self, images: Tensor, ids: Tensor) -> Tensor:
        if not self.gaussian_window:
            return images.new_ones((), dtype=torch.float32)
        rows, columns = (torch.arange(side, device=images.device) % self.gaussian_window for side in images.shape[2:])
        laid = self.gaussian[rows][:, columns].expand(len(images), 1, -1, -1)  # (B, 1, H, W)
        return take_patches(laid, self.window, ids)  # (B, M, 1, ph, pw)
