"""Few labels and a held-out part: exact numbers, nested, the same every time."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from maetool.data import ImageFolderDataset, ShapesDataset
from maetool.data.datasets.subsets import Subset
from maetool.errors import UsageError

SIZES = (1000, 200, 30, 7, 1)
LABELS = torch.cat([torch.full((size,), label) for label, size in enumerate(SIZES)])
LABELS = LABELS[torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(0))]


def several_labels(number=3000):
    generator = torch.Generator().manual_seed(1)
    shares = torch.tensor([0.5, 0.2, 0.05, 0.004])
    return (torch.rand(number, 4, generator=generator) < shares).float()


def chosen(labels=LABELS, **arguments):
    return Subset(**arguments).choose(len(labels), labels)


def counts(indices, labels=LABELS):
    return labels[indices].bincount(minlength=len(SIZES)).tolist()


def test_a_share_of_each_class():
    assert counts(chosen(fraction=0.1)) == [100, 20, 3, 1, 1]
    assert counts(chosen(fraction=0.01)) == [10, 2, 1, 1, 1]
    assert torch.equal(chosen(fraction=1.0), torch.arange(len(LABELS)))


def test_a_number_of_each_class():
    assert counts(chosen(per_class=10)) == [10, 10, 10, 7, 1]


@pytest.mark.parametrize("labels", [LABELS, several_labels()], ids=["one label", "several"])
@pytest.mark.parametrize("name", ["fraction", "per_class"])
def test_the_smaller_lies_within_the_larger(labels, name):
    sizes = (0.01, 0.013, 0.1, 0.5, 1.0) if name == "fraction" else (1, 2, 5, 100)
    drawn = [set(chosen(labels, **{name: size}).tolist()) for size in sizes]
    assert all(small < large for small, large in pairwise(drawn))


def test_a_function_of_the_seed():
    one, again, other = (chosen(fraction=0.1, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    shared = len(set(one.tolist()) & set(other.tolist()))
    assert shared < 0.3 * len(one)  # a tenth by chance, and the two that are the only ones of their class


def test_several_labels_keep_rare_classes():
    labels = several_labels()
    indices = chosen(labels, fraction=0.1)
    assert len(indices) == pytest.approx(300, abs=3)
    shares = labels[indices].sum(dim=0) / labels.sum(dim=0)
    assert shares[3].item() == pytest.approx(0.1, abs=0.05)
    assert (shares > 0.05).all() and (shares < 0.16).all()
    few = labels[chosen(labels, per_class=4)]
    assert (few.sum(dim=0) >= 4).all()
    assert (few.sum(dim=1) == 0).sum() == 4


@pytest.mark.parametrize("labels", [LABELS, several_labels(), None], ids=["one label", "several", "none"])
def test_the_two_parts(labels):
    number = 500 if labels is None else len(labels)
    parts = {part: Subset(part=part, seed=seed).choose(number, labels) for seed, part in enumerate(("train", "val"))}
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(number))
    assert len(parts["val"]) == pytest.approx(number / 5, rel=0.02)
    if labels is LABELS:
        assert counts(parts["val"]) == [200, 40, 6, 1, 0]


def test_the_parts_do_not_depend_on_how_many_are_used():
    train = set(Subset("train", limit=100).choose(len(LABELS), LABELS).tolist())
    few = set(Subset("train", fraction=0.1).choose(len(LABELS), LABELS).tolist())
    val = set(Subset("val", limit=50).choose(len(LABELS), LABELS).tolist())
    assert len(train) == 100 and len(val) == 50
    assert not (train | few) & val


def test_shapes():
    whole = ShapesDataset(400, 16, seed=3)
    few = ShapesDataset(400, 16, seed=3, labels_fraction=0.1)
    assert len(few) == 40
    assert few.labels.bincount().tolist() == [5] * 8
    for i in (0, 17, 39):
        number = int(few.name_of(i))
        assert torch.equal(few[i]["inputs"], whole[number]["inputs"])
        assert few[i]["label"] == whole[number]["label"] == few.label_of(i)
    with pytest.raises(IndexError):
        few[40]


def test_folders(tmp_path):
    root = tmp_path / "data"
    for i in range(40):
        (root / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(root / "ab"[i % 2] / f"{i:02d}.png")
    options = {"with_labels": True, "index_cache": tmp_path / "cache"}
    few = ImageFolderDataset(root, labels_per_class=3, **options)
    assert few.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for i in range(6):
        grey = int(few[i]["inputs"][0, 0, 0])
        assert few.name_of(i) == f"{'ab'[grey % 2]}/{grey:02d}.png"
        assert few[i]["label"] == grey % 2
    train, val = (ImageFolderDataset(root, part=part, **options) for part in ("train", "val"))
    assert (len(train), len(val)) == (32, 8)
    with pytest.raises(UsageError, match="choose among labels, but the images have none"):
        ImageFolderDataset(root, labels_fraction=0.5, index_cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"fraction": 0.0}, "labels_fraction is 0.0: give a share above 0"),
        ({"fraction": 1.5}, "labels_fraction is 1.5"),
        ({"fraction": "10%"}, "labels_fraction is '10%'"),
        ({"per_class": 0}, "labels_per_class is 0"),
        ({"per_class": 2.5}, "labels_per_class is 2.5"),
        ({"per_class": 2, "fraction": 0.1}, "both given"),
        ({"part": "test"}, 'part is \'test\', but must be "all", "train" or "val"'),
        ({"limit": 0}, "limit is 0"),
    ],
)
def test_nonsense(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        Subset(**arguments)
