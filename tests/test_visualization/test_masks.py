"""The mask gallery and its statistics."""

import numpy as np
import pytest
import torch
from PIL import Image

from maetool.errors import UsageError
from maetool.maskers import GridMasker, RandomMasker
from maetool.visualization.masks import draw_masks, mask_statistics


def test_statistics_by_hand():
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    mask[0, 0, :3] = False  # a cluster of three
    mask[0, 3, 3] = False  # and one alone; touching at a corner would not join them
    found = mask_statistics(mask)
    assert sorted(found.clusters.tolist()) == [1, 3, 3, 3]
    assert np.array_equal(found.rate, (~mask[0]).numpy().astype(np.float32))


def test_white_masks_have_a_flat_spectrum_and_stripes_a_peak():
    masks = torch.rand(4000, 16, 16, generator=torch.Generator().manual_seed(0)) < 0.75
    found = mask_statistics(masks)
    assert abs(found.power - 1).max() < 0.1
    stripes = (torch.arange(16) % 4 < 2).expand(5, 16, 16)
    power = mask_statistics(stripes).power
    assert found.frequency[power.argmax()] == pytest.approx(0.25)


def test_gallery(tmp_path):
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    found = draw_masks({"random": RandomMasker(), "grid": GridMasker()}, images, (8, 8), tmp_path / "a" / "m.png", 64)
    assert found["grid"].clusters.mean() == 1.0
    assert min(Image.open(tmp_path / "a" / "m.png").size) > 300


def test_runs_are_named_options():
    from maetool.config.load import parse_runs

    assert parse_runs(["random", "red a=1 b.c=2"]) == {"random": [], "red": ["a=1", "b.c=2"]}
    for wrong in (["a=1"], [""], ["x", "x"], ["x y"], ["x/y"]):
        with pytest.raises(UsageError, match="must be a unique name"):
            parse_runs(wrong)
