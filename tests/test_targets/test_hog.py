from math import exp

import pytest
import torch
from torch.nn import functional

from maetool.errors import UsageError
from maetool.ops.hog import gaussian_window, gradients
from maetool.structures import MaskPlan
from maetool.targets import HOGTarget


def everything(grid, batch_size=1):
    return MaskPlan.from_scores(torch.rand(batch_size, grid[0] * grid[1]), 1, grid).predicting("all")


@pytest.mark.parametrize(("axis", "orientation"), [(3, 4), (2, 0)])
def test_a_ramp_has_one_orientation(axis, orientation):
    """Brighter to the right is orientation 4 of 9, brighter downwards orientation 0 (worked out by hand)."""
    size = [1, 1, 32, 32]
    ramp = torch.arange(32.0).view([-1 if i == axis else 1 for i in range(4)]).expand(size)
    histograms = HOGTarget(16, in_chans=1)(ramp, everything((2, 2))).view(4, 9, 4)
    assert torch.allclose(histograms[:, orientation].sum(), torch.tensor(16.0), atol=0.4)  # the edge is mirrored
    assert histograms[:, orientation].min() > 0.9


def test_an_angle_and_its_opposite_are_one_orientation():
    images = torch.rand(2, 3, 32, 32)
    target, plan = HOGTarget(8), everything((4, 4), 2)
    assert torch.allclose(target(images, plan), target(-images, plan), atol=1e-6)


def test_gradients_are_those_of_a_convolution():
    windows = torch.rand(6, 1, 10, 12)
    sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    across, down = gradients(windows)
    assert torch.allclose(across, functional.conv2d(windows, sobel[None, None]), atol=1e-6)
    assert torch.allclose(down, functional.conv2d(windows, sobel.T[None, None]), atol=1e-6)


def test_cells_and_order_of_any_shape():
    """Only one cell of one channel has a gradient, so that only its histogram is there."""
    images = torch.zeros(1, 5, 16, 24)
    images[0, 3, 4, 12] = 1.0  # inside the cell in row 1, column 0 of the patch in row 0, column 1
    target = HOGTarget((8, 12), in_chans=5, nbins=6, cell_size=(2, 6))
    found = target(images, everything((2, 2))).view(4, 5, 6, 4, 2)
    assert target.out_dim == 5 * 6 * 4 * 2
    norms = found.norm(dim=2)
    assert torch.equal(norms[1, 3] > 0.99, torch.tensor([[False, False], [True, False], [True, False], [False, False]]))
    assert (norms[:, [0, 1, 2, 4]] == 0).all()


def test_the_gaussian_window_sums_to_one_and_repeats():
    window = gaussian_window(16)
    assert window.sum().item() == pytest.approx(1.0, abs=1e-6)
    assert (window[7, 7] / window[0, 7]).item() == pytest.approx(exp((7.5**2 - 0.5**2) / 128), rel=1e-5)
    image = torch.rand(1, 3, 16, 16).repeat(1, 1, 2, 2)  # repeats after 16 pixels, and so does the window
    plan, target = everything((4, 4)), HOGTarget(8, gaussian_window=16)
    found, moved = (target(x, plan).view(4, 4, -1) for x in (image, image.roll(8, 2)))
    assert torch.allclose(found[1, 1], target(image.roll(16, 2), plan).view(4, 4, -1)[1, 1])
    assert not torch.allclose(found[1, 1], moved[2, 1])  # the same patch in another place of the window


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cell_size": 5}, "HOG cells of 5x5 pixels do not divide patches of 16x16"),
        ({"nbins": 0}, "nbins is 0"),
        ({"gaussian_window": 1}, "gaussian_window 1"),
    ],
)
def test_bad_input(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        HOGTarget(16, **options)
