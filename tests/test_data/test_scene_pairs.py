"""Drawn scenes from two places: what is near moves further than what is far, and the wall least."""

import numpy as np
import pytest
import torch

from maetool.data import ScenePairsDataset
from maetool.data.drawn import scene_pairs
from maetool.data.drawn.scene import paint


def parts_of(monkeypatch, label, seed, size=(40, 56)):
    """Return the pair, and the ground and the objects that each of its pictures was painted of."""
    painted = []
    monkeypatch.setattr(scene_pairs, "paint", lambda *parts: painted.append(parts) or paint(*parts))
    return scene_pairs.draw_pair(label, size, np.random.default_rng(seed)), painted


@pytest.mark.parametrize("label", range(8))
def test_things_move_by_the_step_over_their_distance(monkeypatch, label):
    for seed in range(4):
        pair, ((_, first, light), (_, second, same)) = parts_of(monkeypatch, label, seed)
        assert pair.shape == (2, 40, 56, 3) and pair.dtype == np.uint8 and np.array_equal(light, same)
        ways = np.array([after.centre - before.centre for before, after in zip(first, second, strict=True)])
        lengths = np.linalg.norm(ways, axis=1)
        assert np.all(np.diff(lengths) > 0), "the later a thing is painted, the nearer it is"
        assert lengths.min() >= 0.05 / 0.9 and lengths.max() <= 0.2 / 0.4
        assert np.allclose(ways / lengths[:, None], ways[0] / lengths[0]), "in one direction"


def test_the_wall_moves_less_than_all_things(monkeypatch):
    """By whole pixels, which a step is made to be, so that the second wall is the first one, displaced."""
    rows, columns, side = 3, -5, 40
    first = scene_pairs.draw_ground(4, (side, side), np.random.default_rng(0))[0]
    way = np.array([columns, rows]) / side
    second = scene_pairs.draw_ground(4, (side, side), np.random.default_rng(0), way)[0]
    np.testing.assert_allclose(second[rows:, :columns], first[:-rows, -columns:], atol=1e-5)
    _, ((wall, things, _), (moved, later, _)) = parts_of(monkeypatch, 0, 3, (side, side))
    length = min(np.linalg.norm(b.centre - a.centre) for a, b in zip(things, later, strict=True))
    assert np.abs(wall - moved).mean() > 0 and length > 0.05


def test_pairs_are_functions_of_seed_and_index_in_balanced_classes():
    data = ScenePairsDataset(16, (16, 24))
    assert data[5]["inputs"].shape == (6, 16, 24) and data.labels.bincount().tolist() == [2] * 8
    assert torch.equal(data[5]["inputs"], ScenePairsDataset(30, (16, 24), cache=False)[5]["inputs"])
    assert not torch.equal(data[5]["inputs"], ScenePairsDataset(16, (16, 24), seed=8)[5]["inputs"])
    assert not torch.equal(data[5]["inputs"][:3], data[5]["inputs"][3:])
