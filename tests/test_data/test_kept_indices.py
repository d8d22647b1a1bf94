"""Tables and folders of segmentation are looked through once: kept while nothing changed, flat, and never relied on."""

import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from maetool.data import CsvDataset, SegmentationDataset
from maetool.data.datasets.masks import pairs as segmentation_files
from maetool.data.sources import TableSource
from maetool.data.sources.tables import table
from maetool.errors import UsageError

FORMS = {
    "words": ("path,label\n", ["ant", "bee", "ant", "cat"]),
    "numbers": ("path,label\n", ["3", "1", "2", "1"]),
    "several": ("path,x,y\n", ["0,1", "1,1", "1,0", "0,0"]),
    "unknown": ("path,x,y\n", ["0,1", "-1,1", ",0", "0,0"]),
    "parts": ("path,split,label\n", ["train,a", "val,b", "train,b", "val,a"]),
    "groups": ("path,patient,label\n", ["p,a", "q,b", "p,b", ",a"]),
    "measured": ("path,height,width\n", ["0.5,1", "2,", "3.5,7", "1e3,4"]),
}
OPTIONS = {
    "unknown": {"uncertain": "ignore", "missing": "zeros"},
    "parts": {"split": "val"},
    "groups": {"group_column": "patient"},
    "measured": {"targets": ["height", "width"], "missing": "ignore"},
}


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/maetool/index"


def make_old(root):
    """Let nothing below a folder have changed within the last seconds, when file systems may round times."""
    for folder, _, names in os.walk(root, topdown=False):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            os.utime(path, (1, 1))


def table_in(root, form, kind="words"):
    header, rows = FORMS[form]
    for number in range(len(rows)):
        path = root / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    lines = [f"{'ab'[number % 2]}/{number}.png,{row}\n" for number, row in enumerate(rows)]
    (root / "t.csv").write_text(header + "".join(lines))
    make_old(root)
    return root / "t.csv"


def facts_of(source):
    names, values = source.labels()
    groups = source.groups()
    paths = [source.path(index) for index in range(len(source))]
    return paths, names, values.dtype, values.nan_to_num(-7).tolist(), None if groups is None else groups.tolist()


@pytest.mark.parametrize("form", FORMS)
def test_a_table_is_read_once(tmp_path, monkeypatch, form):
    path, options = table_in(tmp_path / "data", form), OPTIONS.get(form, {})
    first = facts_of(TableSource(path, **options))
    with monkeypatch.context() as patch:
        patch.setattr(table, "_read", lambda *arguments: pytest.fail("read again"))
        patch.chdir(tmp_path)
        again = TableSource("data/t.csv", **options)
    assert facts_of(again) == first
    assert first[0] and isinstance(again.labels().values, torch.Tensor)


def test_other_arguments_are_other_tables(tmp_path):
    path = table_in(tmp_path / "data", "parts")
    for split, count in ((None, 4), ("train", 2), ("val", 2), (None, 4), ("train", 2)):
        assert len(TableSource(path, split=split)) == count
    path = table_in(tmp_path / "unknown", "unknown")
    for uncertain, value in (("ones", 1), ("zeros", 0), ("ones", 1)):
        assert TableSource(path, uncertain=uncertain, missing="zeros").labels().values[1, 0] == value
    with pytest.raises(UsageError, match=r"hold 0 or 1 only"):
        TableSource(path)


def test_a_changed_table_or_folder_is_noticed(tmp_path):
    root = tmp_path / "data"
    path = table_in(root, "words")
    assert len(TableSource(path)) == 4
    path.write_text(path.read_text().replace("cat", "dog"))
    assert TableSource(path).labels().classes == ["ant", "bee", "dog"]
    make_old(root)
    TableSource(path)
    (root / "b/3.png").unlink()
    with pytest.raises(UsageError, match=r"1 of 4 paths in .* do not exist"):
        TableSource(path)
    Image.new("RGB", (8, 8)).save(root / "b/3.png")
    assert len(TableSource(path)) == 4
    shutil.move(root / "a", root / "c")
    with pytest.raises(UsageError, match="2 of 4 paths"):
        TableSource(path)


def masks_in(root, number=4):
    for i in range(number):
        for place, name in (("images", f"{i}.JPG"), ("masks", f"{i}.png")):
            path = root / place / "ab"[i % 2] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = np.full((6, 8, 3), 40 * i, np.uint8) if place == "images" else np.full((6, 8), i % 2, np.uint8)
            Image.fromarray(picture).save(path)
    (root / "classes.txt").write_text("sky\nroad\n")
    (root / "few.txt").write_text("b/3\na/0\n")
    make_old(root)
    return root


def segmentation(root, **options):
    return SegmentationDataset(root, images="images", annotations="masks", **options)


@pytest.mark.parametrize("options", [{}, {"names": "few.txt"}, {"limit": 2}])
def test_folders_of_segmentation_are_searched_once(tmp_path, monkeypatch, options):
    root = masks_in(tmp_path / "data")
    first = segmentation(root, **options)
    with monkeypatch.context() as patch:
        patch.setattr(segmentation_files, "walk", lambda *arguments: pytest.fail("searched again"))
        again = segmentation(root, **options)
    assert (
        again.names
        == first.names
        == {"names": ["b/3", "a/0"], "limit": ["a/0", "b/1"]}.get(next(iter(options), ""), ["a/0", "a/2", "b/1", "b/3"])
    )
    for index, name in enumerate(again.names):
        sample = again[index]
        assert sample["inputs"].float().mean().round() == 40 * int(name[-1])
        assert (sample["semantic"] == int(name[-1]) % 2).all()


def test_changed_folders_of_segmentation_are_noticed(tmp_path):
    root = masks_in(tmp_path / "data")
    assert len(segmentation(root)) == 4
    (root / "masks/b/3.png").unlink()
    with pytest.raises(UsageError, match="have no PNG of classes"):
        segmentation(root)
    (root / "images/b/3.JPG").unlink()
    make_old(root)
    os.utime(root / "masks/b", (2, 2))  # a change has another time
    assert len(segmentation(root)) == 3
    (root / "few.txt").write_text("a/2\n")
    assert segmentation(root, names="few.txt").names == ["a/2"]


@pytest.mark.parametrize("kind", ["table", "segmentation"])
def test_a_damaged_cache_is_written_anew(tmp_path, user_cache, kind):
    def names():
        if kind == "table":
            return facts_of(TableSource(tmp_path / "data/t.csv", group_column="patient"))
        return segmentation(tmp_path / "data").names

    table_in(tmp_path / "data", "groups") if kind == "table" else masks_in(tmp_path / "data")
    expected = names()
    (file,) = user_cache.iterdir()
    good = file.read_bytes()
    for place in range(0, len(good), 61):
        file.write_bytes(good[:place] + bytes([good[place] ^ 16]) + good[place + 1 :])
        assert names() == expected
    for damage in (b"", good[:200], b"no archive"):
        file.write_bytes(damage)
        assert names() == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"values": np.array([0, 1, 9, 0])},
        {"values": np.zeros(3, np.int64)},
        {"values": np.zeros(4, np.float32)},
        {"groups": np.zeros(2, np.int64)},
        {"facts": np.array("[]")},
        {"facts": np.array('{"root": "/", "kind": "other", "names": []}')},
    ],
)
def test_a_cache_with_other_content_is_written_anew(tmp_path, user_cache, changes):
    path = table_in(tmp_path / "data", "groups")
    expected = facts_of(TableSource(path, group_column="patient"))
    (file,) = user_cache.iterdir()
    np.savez(file, **{**dict(np.load(file)), **changes})
    assert facts_of(TableSource(path, group_column="patient")) == expected


def test_without_a_place_for_the_cache_it_works(tmp_path, monkeypatch, caplog):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    for _ in range(2):
        assert len(TableSource(table_in(tmp_path / "data", "words"))) == 4
        assert len(segmentation(masks_in(tmp_path / "masks"))) == 4


def test_what_workers_hold_is_flat(tmp_path):
    path = table_in(tmp_path / "data", "several")
    for dataset in (CsvDataset(path), segmentation(masks_in(tmp_path / "masks"))):
        held = [dataset, dataset.files, *([dataset._masks] if hasattr(dataset, "_masks") else [])]
        for part in held:
            sizes = {n: len(v) for n, v in vars(part).items() if isinstance(v, list | tuple | dict | set)}
            # Names of classes, transforms and facts; nothing that grows with the images.
            assert not {name for name, size in sizes.items() if size >= 4} - {"metainfo", "options"}, sizes
