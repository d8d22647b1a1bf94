"""The filter and the filtered images of mmselfsup's PixMIM (tests/data/README.md)."""

import pytest
import torch
from golden import close, load

from maetool.ops.patches import patchify
from maetool.structures import MaskPlan
from maetool.targets import LowFrequencyTarget


@pytest.fixture(params=["0", "1"])
def case(request, data_dir):
    golden, _ = load(data_dir, "pixmim")
    images, filtered, low, radius = (golden[f"{request.param}/{name}"] for name in ("imgs", "filter", "low", "radius"))
    units = {"mean": golden["mean"].tolist(), "std": golden["std"].tolist()}
    return images, filtered, low, LowFrequencyTarget(8, radius=radius.item(), **units)


def test_filter(case):
    images, filtered, _, target = case
    assert torch.equal(torch.fft.fftshift(target._circle(images)).bool(), filtered)


def test_filtered_images(case):
    images, _, low, target = case
    close(target.picture(images), low)


def test_units_of_0_to_255_give_the_same(case):
    images, _, low, target = case
    stored = {"mean": (255 * target.mean.flatten()).tolist(), "std": (255 * target.std.flatten()).tolist()}
    close(LowFrequencyTarget(8, radius=target.radius, **stored).picture(images), low, tolerance=2e-5)


def test_target_is_normalised_after_the_filter(case):
    images, _, low, target = case
    grid = (images.shape[2] // 8, images.shape[3] // 8)
    plan = MaskPlan.from_scores(torch.rand(len(images), grid[0] * grid[1]), 4, grid)
    patches = plan.take_predicted(patchify(low, (8, 8)))
    expected = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    close(target(images, plan), expected, tolerance=1e-4)
