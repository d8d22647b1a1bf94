import pytest
import torch

from maetool.errors import UsageError
from maetool.ops.patches import patchify
from maetool.structures import MaskPlan
from maetool.targets import PictureTarget, PixelTarget

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.fixture
def case():
    pictures = torch.rand(2, 3, 16, 24)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return pictures, (255 * pictures - mean) / std, MaskPlan.from_scores(torch.rand(2, 6), 2, (2, 3))


def test_the_target_is_made_of_pictures_between_0_and_1(case):
    pictures, images, plan = case
    patches = plan.take_predicted(patchify(pictures, (8, 8)))
    raw = PictureTarget((8, 8), norm_pix_loss=False, mean=MEAN, std=STD)
    torch.testing.assert_close(raw(images, plan), patches, atol=1e-6, rtol=0)
    target = PictureTarget([8, 8], mean=MEAN, std=STD)(images, plan)
    expected = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(target, expected, atol=1e-5, rtol=0)
    assert (target - PixelTarget(8)(images, plan)).abs().max() > 0.05


@pytest.mark.parametrize("normalised", [True, False])
def test_the_way_back_leads_to_the_images(case, normalised):
    _, images, plan = case
    target = PictureTarget(8, norm_pix_loss=normalised, mean=MEAN, std=STD)
    back = target.invert(target(images, plan), images, plan)
    torch.testing.assert_close(back, plan.take_predicted(patchify(images, (8, 8))), atol=1e-5, rtol=0)


def test_another_range_of_stored_values(case):
    pictures, _, plan = case
    target = PictureTarget(8, norm_pix_loss=False, white=1000.0)  # without mean and std, images are stored values
    expected = plan.take_predicted(patchify(pictures, (8, 8))) / 1000
    torch.testing.assert_close(target(pictures, plan), expected)


@pytest.mark.parametrize(
    ("options", "sentence"), [({"white": 0}, "white is 0"), ({"mean": (0.0,), "std": (1.0,)}, "PictureTarget got 1")]
)
def test_bad_input(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        PictureTarget(8, **options)
