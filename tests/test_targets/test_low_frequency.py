import numpy as np
import pytest
import torch

from maetool.errors import UsageError
from maetool.ops.patches import patchify
from maetool.structures import MaskPlan
from maetool.targets import LowFrequencyTarget, PixelTarget

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def by_the_recipe(images, radius):
    """The published steps on one image after the other, in NumPy's double precision."""
    mean, std = (np.array(value).reshape(3, 1, 1) for value in (MEAN, STD))
    stored = images.double().numpy() * std + mean
    spectrum = np.fft.fftshift(np.fft.fft2(stored), axes=(-2, -1))
    h, w = stored.shape[-2:]
    i, j = np.mgrid[0:h, 0:w]
    spectrum[..., (i - (h - 1) / 2) ** 2 + (j - (w - 1) / 2) ** 2 > radius**2] = 0
    return torch.from_numpy((np.abs(np.fft.ifft2(spectrum)) - mean) / std)  # not shifted back: only a phase


@pytest.mark.parametrize(("size", "radius"), [((32, 32), 6.0), ((224, 224), 40.0), ((32, 80), 9.0), ((96, 48), 12.5)])
def test_equals_the_recipe(size, radius):
    images, grid = torch.randn(2, 3, *size), (size[0] // 16, size[1] // 16)
    target = LowFrequencyTarget(16, radius=radius, mean=MEAN, std=STD)
    torch.testing.assert_close(target.picture(images).double(), by_the_recipe(images, radius), atol=1e-4, rtol=0)
    plan = MaskPlan.from_scores(torch.rand(2, grid[0] * grid[1]), 1, grid)
    patches = plan.take_predicted(patchify(by_the_recipe(images, radius), (16, 16)))
    wanted = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(target(images, plan).double(), wanted, atol=1e-3, rtol=0)


def test_low_frequencies_pass_and_high_ones_do_not():
    columns = torch.arange(64) / 64 * 2 * torch.pi
    slow, fast = (0.5 * torch.sin(cycles * columns).expand(1, 3, 64, 64) + 2 for cycles in (2, 25))
    target = LowFrequencyTarget(16, radius=10)
    assert torch.allclose(target.picture(slow), slow, atol=1e-4)
    assert torch.allclose(target.picture(fast), torch.full_like(fast, 2), atol=1e-4)


def test_the_filter_is_a_circle_of_bins_on_a_rectangle():
    """Stripes of 8 pixels a period are 8 periods of 64 pixels and 16 of 128; a radius of 10 lets the first pass."""
    target = LowFrequencyTarget(16, in_chans=1, radius=10)
    phase = torch.arange(128) / 8 * 2 * torch.pi
    down, across = torch.sin(phase[:64, None]).expand(1, 1, 64, 128), torch.sin(phase).expand(1, 1, 64, 128)
    assert torch.allclose(target.picture(down + 3), down + 3, atol=1e-4)
    assert torch.allclose(target.picture(across + 3), torch.full_like(across, 3), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"), [({"radius": 0}, "radius is 0"), ({"mean": (0.0,), "std": (1.0,)}, "got 1 means")]
)
def test_bad_input(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        LowFrequencyTarget(16, **options)


@pytest.mark.parametrize("cls", [PixelTarget, LowFrequencyTarget])
def test_patches_of_one_number_cannot_be_normalised(cls):
    with pytest.raises(UsageError, match=r"holds 1 number here, .* set target.norm_pix_loss=False"):
        cls(patch_size=1, in_chans=1)
    assert cls(patch_size=1, in_chans=1, norm_pix_loss=False).out_dim == 1
    images = torch.randn(2, 2, 2, 2)
    plan = MaskPlan.from_scores(torch.rand(2, 4), 1, (2, 2))
    assert cls(patch_size=1, in_chans=2)(images, plan).isfinite().all()


@pytest.mark.parametrize("deviation", [0.0, -1.0, float("nan"), float("inf")])
def test_deviations_are_positive(deviation):
    with pytest.raises(UsageError, match=r"deviations of LowFrequencyTarget are .*, but must be positive"):
        LowFrequencyTarget(8, mean=MEAN, std=(1.0, deviation, 1.0))


@pytest.mark.parametrize("shape", [(2, 3, 4, 16, 16), (2, 3, 16)])
def test_images_of_another_rank_are_refused(shape):
    with pytest.raises(UsageError, match=r"of shape \(batch, channels, height, width\), but got \(2, 3, .*: pass"):
        LowFrequencyTarget(8, radius=3).picture(torch.randn(shape))
