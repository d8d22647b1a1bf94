"""Tables of paths and labels: csv, and Parquet where pyarrow is installed."""

from importlib.util import find_spec

from damage import bytes_damaged, text_damaged

from maetool.data.datasets.csv_table import read_table


def make_case(rng, folder):
    names = [f"{number}.png" for number in range(8)]
    for name in names:
        (folder / name).touch()
    delimiter = rng.choice(",;\t")
    several = rng.random() < 0.4
    labels = (
        [[str(rng.randrange(2)) for _ in range(3)] for _ in names] if several else [[rng.choice("023")] for _ in names]
    )
    labels[:2] = [["0", "1", "1"], ["1", "0", "0"]] if several else [["10"], ["9"]]
    header = ["path", "tree", "sea", "sky"] if several else ["path", "label"]
    whole = rng.random() < 0.1
    if find_spec("pyarrow") and rng.random() < 0.5:
        table = _parquet(folder, header, [[name, *row] for name, row in zip(names, labels, strict=True)])
        table.write_bytes(table.read_bytes() if whole else bytes_damaged(rng, table.read_bytes()))
        return table, names, labels if whole else None
    text = "".join(
        delimiter.join(row) + "\n" for row in (header, *([name, *row] for name, row in zip(names, labels, strict=True)))
    )
    (folder / "table.csv").write_bytes(text.encode() if whole else text_damaged(rng, text))
    return folder / "table.csv", names, labels if whole else None


def _parquet(folder, header, rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))), folder / "t.parquet")
    return folder / "t.parquet"


def try_case(case):
    table, names, expected = case
    files, (classes, values) = read_table(table)
    assert len(files) == len(values) > 0 and len(set(classes)) >= 1
    assert {files.relative(place) for place in range(len(files))} <= set(names)
    if expected is None:
        return "right"
    assert [files.relative(place) for place in range(len(files))] == names
    if values.ndim == 2:
        assert classes == ["tree", "sea", "sky"]
        assert values.tolist() == [[float(cell) for cell in row] for row in expected]
    else:
        assert classes == sorted({row[0] for row in expected}, key=int)
        assert [classes[value] for value in values.tolist()] == [row[0] for row in expected]
    return "right"
