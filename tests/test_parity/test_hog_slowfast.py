"""The histograms of SlowFast's HOGLayerC, with a Gaussian window and without (tests/data/README.md)."""

import pytest
import torch
from golden import load

from maetool.structures import MaskPlan
from maetool.targets import HOGTarget


@pytest.mark.parametrize("patch", [8, 16, (16, 32)])
@pytest.mark.parametrize("case", ["0", "1"])
def test_hog(data_dir, case, patch):
    golden, _ = load(data_dir, "hog_slowfast")
    images, hog, bins, cell, window = (
        golden[f"{case}/{name}"] for name in ("imgs", "hog", "nbins", "cell", "gaussian_window")
    )
    target = HOGTarget(patch, nbins=bins.item(), cell_size=cell.item(), gaussian_window=window.item())
    grid = tuple(64 // side for side in target.patch_size)
    plan = MaskPlan.from_scores(torch.rand(2, grid[0] * grid[1]), 1, grid).predicting("all")
    rows, columns = (side // 8 for side in target.patch_size)
    cells = target(images, plan).unflatten(2, (3, 9, rows, columns)).unflatten(1, grid)  # (B, h, w, C, bins, r, c)
    ours = cells.permute(0, 3, 4, 1, 5, 2, 6).flatten(5, 6).flatten(3, 4)
    torch.testing.assert_close(ours, hog, atol=1e-4, rtol=0)
