"""Classes of folders, of other data, and how many images they have."""

import pytest
import torch
from PIL import Image

from maetool.data import ImageFolderDataset, ShapesDataset
from maetool.data.datasets.labels import Labels, aligned, describe, describe_balance, labels_of
from maetool.errors import UsageError


def test_labels_of_data_that_lacks_a_class_keep_their_meaning():
    found = Labels(["ant", "dog"], torch.tensor([0, 1, 1]))
    assert aligned(found, ["ant", "cat", "dog"]).tolist() == [0, 2, 2]
    found = Labels(["dog", "ant"], torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    assert aligned(found, ["ant", "cat", "dog"]).tolist() == [[0, 0, 1], [1, 0, 1]]


def test_a_class_that_nobody_knows():
    with pytest.raises(UsageError, match=r"has the class `cow` \(1 such\), but the known classes are `ant`, `dog`"):
        aligned(Labels(["ant", "cow"], torch.tensor([0, 1])), ["ant", "dog"])


def test_balance():
    said = describe_balance(Labels(["ant", "dog"], torch.tensor([1, 1, 0, 1])))
    assert said == "2 classes, 4 labelled images: dog 3 (75.0%), ant 1 (25.0%)."
    said = describe_balance(Labels(["ant", "dog"], torch.tensor([[1.0, 1], [0, 1]])))
    assert said == "2 classes, 2 labelled images, 1.50 labels an image: dog 2 (100.0%), ant 1 (50.0%)."
    many = Labels([f"c{i}" for i in range(20)], torch.arange(20).repeat_interleave(torch.arange(20) + 1))
    assert "c19 20 (9.5%), c18 19 (9.0%), c17 18 (8.6%), ..., c2 3" in describe_balance(many)


def test_a_class_without_images(tmp_path):
    with pytest.raises(UsageError, match=r"1 of 3 classes have no image to train on \(first `cat`\)"):
        describe_balance(Labels(["ant", "cat", "dog"], torch.tensor([0, 2])))
    for name in ("ant", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "0.npy").write_bytes(b"x")
    (tmp_path / "data" / "cat").mkdir()
    (tmp_path / "data" / ".hidden").mkdir()
    with pytest.raises(UsageError, match=r"1 of the class folders in .*data hold\(s\) no image \(first `cat`\)"):
        ImageFolderDataset(tmp_path / "data", with_labels=True, index_cache=tmp_path, max_broken=1.0)


def test_data_without_labels():
    assert labels_of(ShapesDataset(9, 16)).values.shape == (9,)
    data = ShapesDataset(9, 16)
    data.classes = []
    with pytest.raises(UsageError, match=r"images of ShapesDataset have no labels: set dataset.with_labels=True"):
        labels_of(data)


def test_several_labels_may_lack_a_class():
    labels = Labels(["cat", "dog"], torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    assert describe_balance(labels).endswith("1 of them no image has, so they cannot be learned (first `cat`).")
    with pytest.raises(UsageError, match="2 of 2 classes have no image to train on"):
        describe_balance(Labels(["cat", "dog"], torch.zeros(2, 2)))


def classes_with(tmp_path, *numbers, **arguments):
    for label, number in enumerate(numbers):
        for i in range(number):
            (tmp_path / "set" / f"c{label:02d}").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(tmp_path / "set" / f"c{label:02d}" / f"{i}.png")
    return ImageFolderDataset(tmp_path / "set", with_labels=True, index_cache=tmp_path / "cache", **arguments)


@pytest.mark.parametrize("limit", [3, 8, 59])
def test_a_limit_may_leave_classes_out(tmp_path, limit):
    text = describe(classes_with(tmp_path, *[3] * 20, limit=limit))
    left = 20 - min(limit, 20)
    assert f"{limit} labelled images" in text
    assert text.endswith(f"{left} of 20 classes have no image among these, because of `limit`.") == bool(left)


@pytest.mark.parametrize("part", ["train", "val"])
def test_one_image_of_each_class(tmp_path, part):
    with pytest.raises(UsageError, match="None of the 5 images can be held out for validation"):
        classes_with(tmp_path, *[1] * 5, part=part)
