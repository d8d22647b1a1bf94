"""Parquet tables give what csv tables of the same cells give, and are refused in the same way."""

import os
import resource

import numpy as np
import pytest
import torch
from PIL import Image

from maetool.config.layouts.places import places
from maetool.data import CsvDataset
from maetool.data.sources import TableSource, extras
from maetool.data.sources.kinds import open_source, source_for
from maetool.data.sources.tables import columns
from maetool.data.sources.tables.columns import open_table
from maetool.errors import UsageError

N = 10
PATHS = [f"{i}.png" for i in range(N)]
PATIENTS = [f"p{i // 2}" for i in range(N)]


def test_pyarrow_is_named_where_it_is_missing(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(extras, "is_installed", lambda package: False)
    with pytest.raises(UsageError, match=r"t\.parquet needs a package that is not installed: pip install pyarrow\."):
        TableSource(tmp_path / "t.parquet")
    with pytest.raises(UsageError, match=r"pip install pyarrow\."):
        source_for(tmp_path / "t.parquet")


@pytest.fixture
def arrow():
    return pytest.importorskip("pyarrow")


@pytest.fixture
def folder(tmp_path):
    for name in PATHS:
        Image.fromarray(np.full((8, 10, 3), int(name[0]), np.uint8)).save(tmp_path / name)
    return tmp_path


def write(folder, columns, name="t", ending="parquet"):
    """Write the columns as Parquet and as csv."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(columns)
    pq.write_table(table, folder / f"{name}.{ending}")
    cells = [["" if value is None else str(value) for value in column.to_pylist()] for column in table.columns]
    lines = [",".join(table.schema.names), *(",".join(row) for row in zip(*cells, strict=True))]
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder / f"{name}.{ending}", folder / f"{name}.csv"


ONE = {"path": PATHS, "label": ["ant", "bee"] * 5, "patient": PATIENTS, "split": ["train"] * 6 + ["valid"] * 4}
WITH_GAPS = [0, 1, None, 1, -1, 0, 1, 0, 1, 0]
CASES = {
    "one label": (ONE, {}),
    "numbers": ({**ONE, "label": [10, 9, 2, 10, 9, 2, 10, 9, 2, 10]}, {}),
    "a part": (ONE, {"split": "val"}),
    "groups": (ONE, {"group_column": "patient"}),
    "zeros and ones": ({"image": PATHS, "tree": [0, 1] * 5, "sea": [1] * 10, "set": ["train"] * N}, {}),
    "booleans": ({"filename": PATHS, "tree": [True, False] * 5, "sea": [True] * N}, {}),
    "unknown": ({"path": PATHS, "a": WITH_GAPS, "b": [1, 0] * 5}, {"uncertain": "ones", "missing": "ignore"}),
    "measurements": ({"path": PATHS, "age": [i + 0.5 for i in range(N)]}, {"targets": "age"}),
    "gaps": ({"path": PATHS, "age": [None, *range(1, N)]}, {"targets": ["age"], "missing": "ignore"}),
}


@pytest.mark.parametrize("case", CASES)
def test_parquet_reads_as_csv(arrow, folder, case):
    columns, options = CASES[case]
    parquet, csv = (TableSource(path, **options) for path in write(folder, columns))
    assert [parquet.read(i) for i in range(len(parquet))] == [csv.read(i) for i in range(len(csv))]
    one, other = parquet.labels(), csv.labels()
    assert one[0] == other[0] and torch.equal(one[1].nan_to_num(7), other[1].nan_to_num(7))
    assert (parquet.groups() is None) == (csv.groups() is None)
    assert parquet.groups() is None or torch.equal(parquet.groups(), csv.groups())


def test_what_only_parquet_has(arrow, folder):
    kinds = {
        "path": arrow.array(PATHS).dictionary_encode(),  # pandas' categories
        "label": arrow.array([1.0, 2.0, 10.0] * 3 + [1.0]),  # pandas' numbers of a column that had gaps
        "embedding": [[1.0, 2.0]] * N,
        "thumbnail": [b"\xff"] * N,
        "__index_level_0__": list(range(N)),
    }
    parquet, _ = write(folder, kinds)
    assert TableSource(parquet).labels().classes == ["1", "2", "10"]
    parquet, _ = write(folder, {"path": PATHS, "tree": [0, 1] * 5, "__index_level_0__": list(range(N))})
    assert TableSource(parquet).labels().classes == ["tree"]
    parquet, _ = write(folder, {"path": PATHS, "tree": [0, 1] * 5, "embedding": [[1.0]] * N})
    with pytest.raises(UsageError, match=r"Row 0 of .* has `list<.*>` in the column `embedding`"):
        TableSource(parquet)


@pytest.mark.parametrize("ending", ["parquet", "PARQUET", "pq"])
def test_data_takes_a_parquet_table(arrow, folder, ending):
    parquet, _ = write(folder, ONE, ending=ending)
    train, val = places(parquet, labelled=True)
    assert train == {"type": "CsvDataset", "csv_file": str(parquet), "split": "train"} and val["split"] == "val"
    assert (len(CsvDataset(parquet, split="train")), len(open_source(parquet))) == (6, N)
    del train["type"]
    assert len(CsvDataset(**train)) == 6


def test_tables_of_parts_in_a_folder(arrow, folder):
    for part, rows in (("train", slice(0, 6)), ("validation", slice(6, N))):
        write(folder, {key: ONE[key][rows] for key in ("path", "label")}, part)
        os.remove(folder / f"{part}.csv")
    train, val = places(folder, labelled=True)
    assert (train["csv_file"], val["csv_file"]) == tuple(str(folder / f"{n}.parquet") for n in ("train", "validation"))


def test_tab_separated_tables(folder):
    (folder / "t.tsv").write_text("path\tlabel\n0.png\ta\n1.png\tb\n")
    assert places(folder / "t.tsv", True)[0]["type"] == "CsvDataset"
    assert open_source(folder / "t.tsv").labels().classes == ["a", "b"]


def test_a_table_that_holds_images_is_no_table_of_paths(arrow, folder):
    pictures = [{"bytes": (folder / name).read_bytes(), "path": name} for name in PATHS]
    parquet, _ = write(folder, {"image": pictures, "label": [0, 1] * 5})
    assert source_for(parquet) == {"type": "HuggingFaceSource", "name": str(parquet)}
    pytest.importorskip("datasets")
    assert places(parquet, True)[0]["source"]["type"] == "HuggingFaceSource"


def damaged(path):
    path.write_bytes(path.read_bytes()[:-30] + bytes(30))


def cut(path):
    path.write_bytes(path.read_bytes()[:40])


def pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("break_it", [damaged, cut, pipe])
def test_a_broken_file_is_one_sentence(arrow, folder, break_it):
    parquet, _ = write(folder, ONE)
    break_it(parquet)
    with pytest.raises(UsageError, match=r"cannot be read as a Parquet table \(") as error:
        TableSource(parquet)
    assert "\n" not in str(error.value)


def test_work_is_bounded(arrow, folder, monkeypatch):
    """A text is stored once however often it repeats, so that a small file could fill the memory."""
    path = folder / "bomb.parquet"
    import pyarrow.parquet as pq

    once = arrow.DictionaryArray.from_arrays(np.zeros(5000, np.int32), ["x" * 10**6])
    pq.write_table(arrow.table({"path": once, "label": ["a"] * 5000}), path)
    assert path.stat().st_size < 2 * 10**6
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UsageError, match=r"its column `path` has more than the 2,147,483,648 bytes of text"):
        TableSource(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    monkeypatch.setattr(columns, "_MOST_ROWS", 4999)
    with pytest.raises(UsageError, match="it has 5,000 rows, more than the 4,999 that are read"):
        open_table(path)
