"""The mask gallery and its statistics."""

import numpy as np
import pytest
import torch
from PIL import Image

from maetool.commands.browse_masks import masks_of
from maetool.errors import UsageError
from maetool.maskers import GridMasker, RandomMasker
from maetool.ops.random import sample_keys
from maetool.testing import tiny_batch, tiny_model
from maetool.visualization.masks import ModelMasks, draw_masks, mask_statistics


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


ROWS = {  # config, what its rows are called after the run, the share that is visible
    "adamae/vit-t_moving-shapes": ([""], 0.25),
    "attmask/vit-t_shapes": ([""], 0.25),
    "cropmae/vit-t_shapes": ([""], 0.25),
    "everest/vit-t_moving-shapes": ([""], 0.25),
    "mage/vit-t_shapes": ([""], None),  # drawn for each batch
    "satmae/vit-t_bands": ([" visible", " red_edge", " short_wave"], 0.25),
    "videomae/vit-t_moving-shapes": ([""], 0.25),
}


@pytest.mark.parametrize("config", ROWS)
def test_masks_of_every_kind_of_input_are_drawn(config, repository, tmp_path):
    """Clips, bands, views and ids; maskers that look at tokens, attention or pixels."""
    maskers, images, grid = masks_of(repository / f"configs/{config}.py", {"run": []}, None)
    names, share = ROWS[config]
    assert list(maskers) == [f"run{name}" for name in names]
    found = draw_masks(maskers, images, grid, tmp_path / "m.png", 20)
    sides = {each[-2:] for each in (grid.values() if isinstance(grid, dict) else [grid])}
    assert {each.rate.shape for each in found.values()} == sides
    if share:
        rows = (each.rate.mean() for each in found.values())
        assert np.mean(list(rows)) == pytest.approx(share, abs=0.1)  # of one slice of a clip, or of all groups together


def test_draws_are_those_of_the_model_and_clues_are_found_once():
    model = tiny_model(masker={"type": "AttentionMasker", "ratios": (0.5, 0.5)}, teacher={"type": "MomentumTeacher"})
    batch, keys = tiny_batch(3)["inputs"], sample_keys(0, 0, torch.arange(7))
    images = model.data_preprocessor({"inputs": batch})["images"]
    expected = [model.make_plan(images, {"key": keys[part]}).mask for part in ([0, 1, 2], [3, 4, 5], [6, 6, 6])]
    calls = []
    model.teacher.register_forward_hook(lambda *_: calls.append(1))
    grid = model.encoder.grid_of(images)
    found = ModelMasks(model, batch, model.encoder.layout_of(images))(batch, grid, keys=keys).mask
    assert torch.equal(found, torch.cat(expected)[:7])
    assert len(calls) == 1


def test_series_are_drawn_as_rows(tmp_path):
    found = draw_masks({"random": RandomMasker()}, torch.randn(2, 3, 32), (8,), tmp_path / "m.png", 16)
    assert found["random"].rate.shape == (1, 8)
