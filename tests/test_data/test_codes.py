"""Images as ids of codes."""

import pytest
import torch

from maetool.data import ShapesDataset
from maetool.data.transforms import ColourCodes, RandomHorizontalFlip
from maetool.errors import UsageError


def test_the_id_is_the_mean_colour_in_levels():
    image = torch.zeros(3, 4, 8, dtype=torch.uint8)
    image[:, :, 4:] = torch.tensor([255, 64, 127])[:, None, None]  # levels 3, 1 and 1 of 4
    image[0, :2, :4] = 130  # half of a patch: a mean of 65, level 1
    codes = ColourCodes(patch_size=4, levels=4)(image)
    assert codes.dtype == torch.int64
    assert codes.tolist() == [[1 * 16, 3 * 16 + 1 * 4 + 1]]


@pytest.mark.parametrize(("patch_size", "levels", "grid"), [(4, 4, (8, 12)), ((8, 4), 2, (4, 12)), (32, 16, (1, 1))])
def test_ids_of_drawn_images(patch_size, levels, grid):
    size = (32, 48) if grid != (1, 1) else (32, 32)
    data = ShapesDataset(24, size, pipeline=[{"type": "ColourCodes", "patch_size": patch_size, "levels": levels}])
    codes = torch.stack([data[i]["inputs"] for i in range(24)])
    assert codes.shape == (24, *grid) and codes.min() >= 0 and codes.max() < levels**3
    assert torch.equal(codes[3], ShapesDataset(24, size, pipeline=data.transforms)[3]["inputs"])


def test_ids_of_drawn_images_are_many_and_hang_together():
    """Neighbours are alike far more often than chance has it: there is something to learn."""
    data = ShapesDataset(64, 64, pipeline=[ColourCodes(4)])
    codes = torch.stack([data[i]["inputs"] for i in range(64)])
    counts = codes.flatten().bincount(minlength=64).float()
    shares = counts / counts.sum()
    assert (counts > 0).sum() > 50 and shares.max() < 0.15
    same = (codes[:, :, 1:] == codes[:, :, :-1]).float().mean()
    assert same > 5 * (shares**2).sum()


def test_ids_follow_the_image():
    plain, flipped = (
        ShapesDataset(4, 32, pipeline=[*flips, ColourCodes(4)]) for flips in ([], [RandomHorizontalFlip(1)])
    )
    assert torch.equal(flipped[2]["inputs"], plain[2]["inputs"].flip(-1))


def test_one_channel_and_256_levels_give_the_grey_level():
    image = torch.arange(64, dtype=torch.uint8).view(1, 8, 8) * 4 + 3
    assert torch.equal(ColourCodes(1, 256)(image), image[0].long())


@pytest.mark.parametrize("levels", [1, 257, 2.0, True])
def test_levels_out_of_range(levels):
    with pytest.raises(UsageError, match=r"levels=.*2 to 256"):
        ColourCodes(levels=levels)


def test_only_8_bit_pictures_that_divide_into_patches():
    with pytest.raises(UsageError, match=r"got float32 of the shape \(3, 8, 8\)"):
        ColourCodes()(torch.zeros(3, 8, 8))
    with pytest.raises(UsageError, match=r"got uint8 of the shape \(3, 4, 8, 8\)"):
        ColourCodes()(torch.zeros(3, 4, 8, 8, dtype=torch.uint8))
    with pytest.raises(UsageError, match="10x8 pixels does not divide into patches of 4x4"):
        ColourCodes()(torch.zeros(3, 10, 8, dtype=torch.uint8))
