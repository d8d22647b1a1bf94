"""Tables of labels: both forms, and every way to get one wrong."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from maetool.data import CsvDataset
from maetool.errors import UsageError


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        path = tmp_path / "images" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 10, 3), i, np.uint8)).save(path)
    return tmp_path


def table(folder, *lines, name="labels.csv"):
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def rows(*labels):
    return [f"images/{i}.png,{label}" for i, label in enumerate(labels)]


def test_one_label(folder):
    data = CsvDataset(table(folder, "path,label", *rows("dog", "ant", "dog", "cat")))
    assert data.classes == ["ant", "cat", "dog"]
    assert data.labels.tolist() == [2, 0, 2, 1]
    assert [data[i]["label"] for i in range(4)] == [2, 0, 2, 1]
    assert [int(data[i]["inputs"][0, 0, 0]) for i in range(4)] == [0, 1, 2, 3]
    assert data.name_of(3) == "images/3.png"


def test_labels_that_are_numbers_are_sorted_as_numbers(folder):
    data = CsvDataset(table(folder, "path,label", *rows(10, 2, 10)))
    assert data.classes == ["2", "10"]


def test_several_labels(folder):
    lines = rows("1,0,0", "0,1,1", "0,0,0", "1.0,0.0,1.0")
    data = CsvDataset(table(folder, "path,river,road,forest", *lines))
    assert data.classes == ["river", "road", "forest"]
    batch = next(iter(DataLoader(data, batch_size=4)))
    assert batch["label"].dtype == torch.float32
    assert batch["label"].tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 0, 1]]
    assert len(CsvDataset(folder / "labels.csv", labels_per_class=1)) == 3


def test_other_columns_orders_and_delimiters(folder):
    lines = [f"patient {i}; {label} ;images/{i}.png" for i, label in enumerate(("a", "b"))]
    file = folder / "labels.csv"
    file.write_bytes("\r\n".join(["\ufeffpatient;label;path", *lines, ""]).encode())
    data = CsvDataset(file)
    assert data.classes == ["a", "b"]
    assert len(data) == 2


def test_paths_below_another_folder(folder):
    (folder / "tables").mkdir()
    file = table(folder / "tables", "path,label", "0.png,a", "1.png,b")
    assert int(CsvDataset(file, root=folder / "images")[1]["inputs"][0, 0, 0]) == 1


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["where,label", *rows("a", "b")], r"has the columns where, label, but expected is a header `path,label`"),
        (["path", "images/0.png"], r"has the columns path, but expected is"),
        ([], r"has the columns none"),
        (["path,label"], r"has a header but no rows"),
        (["path,label", *rows("a", "", "b", "")], r"2 of 4 rows of .* have no label \(first images/1.png\): fill them"),
        (["path,label", *rows("a", "b|c")], r"label `b\|c`: several labels .* columns of 0 and 1"),
        (["path,label", *rows("a", "a")], r"only the class `a`"),
        (["path,label", *rows("a", "b"), "images/9.png,a"], r"1 of 3 paths in .* not there \(first .*images/9.png\)"),
        (["path,label", *rows("a", "b"), "images/0.png,b"], r"names images/0.png in several rows: .* columns of 0 and"),
        (["path,a,b", *rows("1,0", "0,-1")], r"Row 3 of .* has `-1` in the column `b`, but columns of classes hold 0"),
        (["path,a,b", *rows("1,0", "0,")], r"Row 3 of .* has `` in the column `b`"),
        (["path,a,b", *rows("1,0", "0")], r"Row 3 of .* has 2 cells, but the header has 3"),
        (["path,sick", *rows("0", "0")], r"only class column of .*, `sick`, is 0 in every row"),
    ],
)
def test_mistakes(folder, lines, sentence):
    with pytest.raises(UsageError, match=sentence) as info:
        CsvDataset(table(folder, *lines))
    assert "\n" not in str(info.value)


def test_no_table(folder):
    with pytest.raises(UsageError, match=r"There is no table .*none.csv"):
        CsvDataset(folder / "none.csv")
    (folder / "labels.csv").write_bytes(b"path,label\n\xff\xfe,\x00")
    with pytest.raises(UsageError, match=r"is not text in UTF-8 .* expected is a csv table with a header"):
        CsvDataset(folder / "labels.csv")
