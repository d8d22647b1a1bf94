"""Pixels that are normalised in cells of a patch, ordered as a decoder of cells predicts them."""

import pytest
import torch

from maetool.errors import UsageError
from maetool.structures import MaskPlan
from maetool.targets import CellTarget, PixelTarget


def cells_of(patch_size, cell_size, in_chans=3, **options):
    return CellTarget({"type": "PixelTarget", **options}, cell_size, patch_size, in_chans)


@pytest.mark.parametrize("norm", [True, "channel"])
def test_each_cell_is_normalised_on_its_own(norm):
    images = torch.randn(2, 3, 16, 24) * torch.linspace(1, 9, 24)
    plan = MaskPlan.from_scores(torch.rand(2, 4), 1, (2, 2))
    small, target = PixelTarget((4, 6), norm_pix_loss=norm), cells_of((8, 12), (4, 6), norm_pix_loss=norm)
    everywhere = MaskPlan.from_scores(torch.rand(2, 16), 1, (4, 4)).predicting("all")
    cells = small(images, everywhere).unflatten(1, (2, 2, 2, 2)).transpose(2, 3).flatten(1, 2)  # (B, L, 2, 2, numbers)
    expected = cells.movedim(4, 2).flatten(2)  # number, row, column
    values = target(images, plan)
    torch.testing.assert_close(values, plan.take_predicted(expected))
    pixels = PixelTarget((8, 12), norm_pix_loss=False)(images, plan)
    torch.testing.assert_close(target.invert(values, images, plan), pixels, atol=1e-4, rtol=1e-4)


def test_cells_of_clips_and_without_normalisation():
    images, plan = torch.randn(1, 2, 4, 8, 8), MaskPlan.from_scores(torch.rand(1, 2), 1, (1, 2, 1))
    cells = cells_of((4, 4, 8), (2, 4, 4), 2, norm_pix_loss=False)
    whole = PixelTarget((4, 4, 8), 2, norm_pix_loss=False)
    values = cells(images, plan)
    assert not values.equal(whole(images, plan)) and values.sort().values.equal(whole(images, plan).sort().values)
    assert cells.invert(values, images, plan).equal(whole(images, plan))
    assert cells_of(8, 8).cells == (1, 1)


def test_cells_that_do_not_divide_the_patch():
    with pytest.raises(
        UsageError, match=r"Cells of 3x3 pixels do not divide patches of 8x8: set target.cell_size to a"
    ):
        cells_of(8, 3)
    with pytest.raises(UsageError, match=r"a patch holds 1 number here"):
        cells_of(8, 1, 1)
    with pytest.raises(UsageError, match="CellTarget is for numbers that images say"):
        CellTarget({"type": "TokenTarget", "codebook": 8, "source": {"type": "PixelTarget"}}, 4, 8)
