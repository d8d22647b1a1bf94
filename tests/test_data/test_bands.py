"""Drawn pictures of ten bands: those of a group are much alike, those of other groups differ."""

import pytest
import torch

from maetool.data import BandsDataset, collate_samples
from maetool.data.drawn.bands import BANDS, COVERS, GROUPS, SPECTRA
from maetool.data.drawn.scene import TEXTURES
from maetool.data.transforms import ImagePreprocessor, SplitChannels
from maetool.errors import UsageError


@pytest.fixture(scope="module")
def pictures():
    data = BandsDataset(160, 32)
    return torch.stack([data.load(i)["inputs"] for i in range(160)])


def test_a_sample_is_a_picture_of_ten_bands():
    data = BandsDataset(20, (16, 24), seed=2)
    sample = data[5]
    assert sample["inputs"].shape == (10, 16, 24) and sample["inputs"].dtype == torch.float32
    assert data.classes == list(TEXTURES) and sample["label"] == data.labels[5] == 7
    assert torch.equal(sample["inputs"], BandsDataset(30, (16, 24), seed=2, cache=False)[5]["inputs"])
    assert not torch.equal(sample["inputs"], BandsDataset(20, (16, 24), seed=10)[5]["inputs"])


def test_values_are_those_of_the_docstring(pictures):
    assert pictures.min() >= 0 and pictures.max() <= 10_000
    assert pictures.mean().item() == pytest.approx(2400, rel=0.1)
    assert pictures.std().item() == pytest.approx(1900, rel=0.1)


def test_bands_of_a_group_are_more_alike_than_others(pictures):
    alike = torch.corrcoef(pictures.transpose(0, 1).flatten(1))  # (10, 10)
    group = torch.zeros(10, dtype=torch.int64)
    for number, bands in enumerate(GROUPS.values()):
        group[list(bands)] = number
    assert sorted(sum(GROUPS.values(), ())) == list(range(len(BANDS)))
    same = (group[:, None] == group) & ~torch.eye(10, dtype=torch.bool)
    assert alike[same].min() > 0.75
    assert alike[group[:, None] != group].mean() < alike[same].mean() - 0.3
    assert alike[group == 2][:, group != 2].max() < 0.4  # short waves say what no other group does


def test_each_cover_has_a_spectrum():
    assert SPECTRA.shape == (len(COVERS), len(BANDS)) and SPECTRA.min() >= 100 and SPECTRA.max() <= 10_000
    apart = (SPECTRA[:, None] - SPECTRA[None]).__abs__().max(-1) + 1e9 * torch.eye(len(COVERS)).numpy()
    assert apart.min() > 800


def test_groups_become_streams_that_are_normalised_by_their_own_numbers():
    data = BandsDataset(4, 16, pipeline=[SplitChannels(GROUPS)])
    batch = collate_samples([data[i] for i in range(4)])
    assert {name: tuple(x.shape) for name, x in batch["inputs"].items()} == {
        "visible": (4, 4, 16, 16),
        "red_edge": (4, 4, 16, 16),
        "short_wave": (4, 2, 16, 16),
    }
    whole = torch.stack([BandsDataset(4, 16)[i]["inputs"] for i in range(4)])
    means = {name: [1000.0 + band for band in bands] for name, bands in GROUPS.items()}
    stds = {name: [100.0 + band for band in bands] for name, bands in GROUPS.items()}
    images = ImagePreprocessor(means, stds)(batch)["images"]
    for name, bands in GROUPS.items():
        for place, band in enumerate(bands):
            expected = (whole[:, band] - 1000 - band) / (100 + band)
            assert torch.allclose(images[name][:, place], expected, atol=1e-4)


@pytest.mark.parametrize("groups", [{}, {"a": []}, {"a": [-1]}, {"a": [0.5]}])
def test_streams_without_channels_are_refused(groups):
    with pytest.raises(UsageError, match="give each name a list of channels"):
        SplitChannels(groups)


def test_channels_that_are_not_there_are_refused():
    with pytest.raises(UsageError, match="takes channel 10, counted from 0, but the image has 10"):
        BandsDataset(4, 16, pipeline=[SplitChannels({"a": (0, 10)})])[0]
