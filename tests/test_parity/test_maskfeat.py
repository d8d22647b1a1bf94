"""Numbers of mmpretrain's HOG generator and MaskFeat."""

import numpy as np
import pytest
import torch

from maetool.structures import MaskPlan
from maetool.targets import HOGTarget


def load(data_dir, name):
    return {key: torch.from_numpy(np.asarray(value)) for key, value in np.load(data_dir / f"{name}.npz").items()}


@pytest.fixture(scope="module")
def photo(data_dir):
    golden = {
        key: torch.from_numpy(np.asarray(value)) for key, value in np.load(data_dir / "hog_photo_224.npz").items()
    }
    return (golden["imgs_uint8"].float() / 255 - golden["mean"]) / golden["std"], golden["hog"]


def test_every_patch_of_a_photo(photo):
    images, hog = photo
    target = HOGTarget(16, gaussian_window=16)
    assert target.out_dim == 108
    plan = MaskPlan.from_scores(torch.rand(1, 196), 49, (14, 14)).predicting("all")
    torch.testing.assert_close(target(images, plan), hog, atol=1e-4, rtol=0)


def test_only_what_is_asked_for_and_the_same_numbers(photo):
    images, hog = photo
    plan = MaskPlan.from_scores(torch.rand(1, 196), 49, (14, 14), num_predict=30)
    ours = HOGTarget(16, gaussian_window=16)(images, plan)
    torch.testing.assert_close(ours, plan.take_predicted(hog), atol=1e-4, rtol=0)
