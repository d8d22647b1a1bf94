"""A target of the cells of a patch, each on its own."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from maetool.annotations import Count, Size
from maetool.errors import UsageError
from maetool.ops.geometry import format_size, grid_of, rank_of, to_size
from maetool.ops.patches import cell_ids, unpatchify
from maetool.registry import TARGETS
from maetool.structures import MaskPlan, plan_of_cells

from .pixel import Statistics


@TARGETS.register_module()
class CellTarget(nn.Module):
    """What another target gives for cells of a patch, as if they were patches; normalised pixels, for example.

    The numbers of a patch are ordered number of a cell, row, column of the cell, as those of `HOGTarget`, so that a
    decoder of cells such as `ScaledDecoder` predicts them. Source: LocalMIM (Haoqing-Wang/LocalMIM,
    `Swin/models_mim.py`, `--target Pixel`).

    Args:
        target: config of the target, or the module, made for patches of `cell_size`; it reads nothing but images.
        cell_size: pixels of a cell along each axis, which divide the patch.
        patch_size: pixels of a patch along each axis, or one number.
        in_chans, mean, std: facts for `target`; the model fills them in.

    Attributes:
        out_dim: P, the cells of a patch times the numbers of each.
        invertible, units: as of `target`.

    Raises:
        UsageError: cells that do not divide the patch, or a target of tokens or of more than images.
    """

    part_registries = {"target": TARGETS}

    def __init__(
        self,
        target: Any,
        cell_size: Size,
        patch_size: Size,
        in_chans: Count = 3,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.patch_size = to_size(patch_size, "patch_size", rank_of(patch_size))
        self.cell_size = to_size(cell_size, "cell_size", len(self.patch_size))
        if any(side % cell for side, cell in zip(self.patch_size, self.cell_size, strict=True)):
            raise UsageError(
                f"Cells of {format_size(self.cell_size)} pixels do not divide patches of "
                f"{format_size(self.patch_size)}: set target.cell_size to a divisor of the patch size."
            )
        self.cells = grid_of(self.patch_size, self.cell_size)  # of a patch, along each axis
        facts = {"patch_size": self.cell_size, "in_chans": in_chans, "mean": mean, "std": std}
        self.target: Any = TARGETS.build(target, default_args=facts)
        if getattr(self.target, "gives_tokens", False) or getattr(self.target, "needs", ()):
            raise UsageError(
                f"{type(self.target).__name__} gives tokens, or needs a teacher, but CellTarget is for numbers that "
                "images say: use a target such as PixelTarget."
            )
        self.out_dim = prod(self.cells) * self.target.out_dim
        self.invertible, self.units = self.target.invertible, getattr(self.target, "units", None)

    @torch.no_grad()
    def forward(self, images: Tensor, plan: MaskPlan) -> Tensor:
        """Return the float32 target (B, M, P) of images (B, C, H, W) at `plan.ids_predict`."""
        values = self.target(images, self._plan(plan))  # (B, M * cells, numbers)
        return values.unflatten(1, (-1, prod(self.cells))).transpose(2, 3).flatten(2)

    def picture(self, images: Tensor) -> Tensor:
        """Return the images (B, C, H, W) whose patches are the target, as `target` says."""
        return self.target.picture(images)

    @torch.no_grad()
    def invert(self, pred: Tensor, images: Tensor, plan: MaskPlan, statistics: Statistics = "true") -> Tensor:
        """Return predictions (B, M, P) as pixels (B, M, P), ordered row, column, channel; see `PixelTarget.invert`.

        Args:
            pred: what the decoder predicts at `plan.ids_predict`.
            images: (B, C, H, W), where the statistics come from.
            plan: the plan of the prediction.
            statistics: "true", those of each hidden cell; "visible", the average of the visible ones.
        """
        cells = pred.unflatten(2, (-1, prod(self.cells))).transpose(2, 3)  # (B, M, cells, numbers)
        pixels = self.target.invert(cells.flatten(1, 2), images, self._plan(plan), statistics)
        patches = unpatchify(pixels.reshape(-1, *cells.shape[2:]), self.cells, self.cell_size)  # (B * M, C, ph, pw)
        return patches.movedim(1, -1).flatten(1).unflatten(0, cells.shape[:2])

    def _plan(self, plan: MaskPlan) -> MaskPlan:
        """Return the plan of the cells, those to predict patch by patch."""
        ids = cell_ids(plan.ids_predict, plan.grid, self.cells)
        return replace(plan_of_cells(plan, self.cells), ids_predict=ids, weight=None, group=None)
