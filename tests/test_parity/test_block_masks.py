"""Distributions of the published block masks (tests/data/README.md): draws are keyed, so they are others."""

import numpy as np
import pytest
import torch

from maetool.maskers import BlockMasker, InverseBlockMasker
from maetool.ops.random import sample_keys

DRAWS = 8192
SIGMAS = 5  # of the difference of two means


def draw(masker, grid, number=DRAWS):
    """Return masks (number, h, w), True = removed."""
    plan = masker(torch.zeros(number, 1, 1, 1), grid, keys=sample_keys(0, 0, torch.arange(number)))
    return plan.validate().mask.view(number, *grid).numpy()


def adjacent(cells):
    """Return how many pairs of neighbours of each of (N, h, w) are both set."""
    return (cells[:, 1:] & cells[:, :-1]).sum((1, 2)) + (cells[:, :, 1:] & cells[:, :, :-1]).sum((1, 2))


def agree(ours, published, draws, deviation=None):
    """Whether the mean of our draws is a published mean, as far as so many draws tell."""
    deviation = ours.std() if deviation is None else deviation
    return abs(ours.mean() - published) < SIGMAS * deviation * (1 / len(ours) + 1 / draws) ** 0.5


@pytest.mark.parametrize(
    ("name", "masker"),
    [
        ("beitv2_14x14_75", BlockMasker(75 / 196)),
        ("cae_14x14_98", BlockMasker(98 / 196, attempts=200, patience=None)),
    ],
)
def test_block_masks(data_dir, name, masker):
    golden = {key.split("/")[1]: v for key, v in np.load(data_dir / "block_masks.npz").items() if key.startswith(name)}
    mask, draws = draw(masker, (14, 14)), int(golden["number"])
    assert set(mask.sum((1, 2))) == set(golden["count"])
    share = golden["share_of_masks_that_hold_a_place"]
    errors = (mask.mean(0) - share) / (share * (1 - share) * (1 / DRAWS + 1 / draws)) ** 0.5
    assert abs(errors).max() < SIGMAS
    assert agree(adjacent(mask), golden["adjacent_masked_pairs_mean"], draws)
    assert adjacent(mask).std() == pytest.approx(golden["adjacent_masked_pairs_std"], rel=0.05)
    assert agree(mask.all(2).sum(1), golden["full_rows_mean"], draws)
    assert agree((~mask).all(2).sum(1), golden["empty_rows_mean"], draws)
    assert agree((~mask).all(1).sum(1), golden["empty_columns_mean"], draws)


@pytest.fixture(params=[14, 16])
def inverse(request, data_dir):
    side, file = request.param, np.load(data_dir / "capi_masks.npz")
    golden = {key: file[f"masks/{side}x{side}{key}"] for key in ("", "/count", *(f"/{name}_mean" for name in MEANS))}
    return side, golden, file[f"masks_without_roll/{side}x{side}"]


MEANS = {
    "visible_rows": lambda visible: visible.any(2).sum(1),
    "visible_columns": lambda visible: visible.any(1).sum(1),
    "adjacent_visible_pairs": adjacent,
}


def test_inverse_block_masks(inverse):
    side, golden, _ = inverse
    visible = ~draw(InverseBlockMasker(0.65), (side, side))
    assert set((~visible).sum((1, 2))) == {int(golden["/count"])}
    for name, measure in MEANS.items():
        assert agree(measure(visible), golden[f"/{name}_mean"], 5000), name
    share = visible.mean()
    errors = (visible.mean(0) - share) / (share * (1 - share) / DRAWS) ** 0.5  # rolled: all places alike
    assert abs(errors).max() < SIGMAS


def corner(cells):
    """Return the block of set cells (h, w) without the empty rows and columns around it."""
    return cells[np.ix_(cells.any(1), cells.any(0))]


def test_inverse_block_masks_that_are_not_rolled(inverse):
    """Blocks stay inside of the grid, and each shape that is published is one of ours."""
    side, _, published = inverse
    visible = ~draw(InverseBlockMasker(0.65, roll=False), (side, side))
    shapes = {corner(cells).tobytes() for cells in visible}
    for cells in visible:
        block, width = corner(cells).ravel(), cells.any(0).sum()
        assert block[: cells.sum()].all()  # in raster order, so only the last row may be short
        assert len(block) - cells.sum() < width
    assert {corner(~mask).tobytes() for mask in published} <= shapes
