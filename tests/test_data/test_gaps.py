"""Patches with gaps."""

import pytest
import torch

from maetool.data.transforms import GappedPatches
from maetool.errors import UsageError


def test_each_patch_is_a_window_of_its_own_cell():
    image = torch.arange(2 * 12 * 21).view(2, 12, 21)
    torch.manual_seed(0)
    seen = set()
    for _ in range(40):
        patches = GappedPatches((2, 5), (6, 15))(image)  # 3 x 3 cells of 4 x 7 pixels
        assert patches.shape == (2, 6, 15) and patches.dtype == image.dtype
        for row in range(3):
            for column in range(3):
                patch = patches[:, 2 * row : 2 * row + 2, 5 * column : 5 * column + 5]
                first = patch[0, 0, 0].item()
                down, right = first // 21 - 4 * row, first % 21 - 7 * column
                top, left = 4 * row + down, 7 * column + right
                assert torch.equal(patch, image[:, top : top + 2, left : left + 5])
                seen.add((down, right))
    assert seen == {(down, right) for down in (0, 1) for right in (0, 1)}  # the gap is 2 pixels both ways


def test_clips_and_images_without_gaps():
    clip = torch.randn(3, 4, 10, 10)
    assert torch.equal(GappedPatches(5, 10)(clip), clip)
    assert GappedPatches(4, 8)(clip).shape == (3, 4, 8, 8)


def test_images_without_such_cells():
    with pytest.raises(UsageError, match="size is 10, which does not divide into patches of 4 pixels"):
        GappedPatches(4, 10)
    for side in (9, 6):
        with pytest.raises(UsageError, match=f"An image of {side} x {side} pixels does not have 2 x 2 cells"):
            GappedPatches(4, 8)(torch.zeros(3, side, side))
