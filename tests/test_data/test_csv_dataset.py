"""Tables of labels: both forms, and every way to get one wrong."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from maetool.data import CsvDataset
from maetool.data.datasets.labels import describe_balance, labels_of
from maetool.data.sources.tables.unknown import refuse_measurements
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
        (["where,label", *rows("a", "b")], r"has the columns where, label, but expected a header `path,label`"),
        (["path", "images/0.png"], r"has the columns path, but expected a header"),
        ([], r"has the columns none"),
        (["path,label"], r"has a header but no rows"),
        (["path,label", *rows("a", "", "b", "")], r"2 of 4 rows of .* have no label \(first images/1.png\): fill them"),
        (["path,label", *rows("a", "b|c")], r"label `b\|c`: several labels .* columns of 0 and 1"),
        (["path,label", *rows("a", "a")], r"only the class `a`"),
        (["path,label", *rows("a", "b"), "images/9.png,a"], r"1 of 3 paths in .* do not exist \(first .*9.png\)"),
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
    with pytest.raises(UsageError, match=r"is not text in UTF-8 .* expected a csv table with a header"):
        CsvDataset(folder / "labels.csv")


@pytest.mark.parametrize(
    ("cells", "option"),
    [
        *(((cell, "uncertain")) for cell in ("-1", "-1.0", "u", "Uncertain", "?")),
        *((c, "missing") for c in ("", "NaN", "n/a")),
    ],
)
def test_unknown_labels_are_refused_or_follow_a_policy(folder, cells, option):
    file = table(folder, "path,a,b", *rows("1,0", f"0,{cells}", "1,1"))
    with pytest.raises(UsageError, match=f"in the column `b`.*: set dataset.{option} to ignore, zeros or ones"):
        CsvDataset(file)
    for policy, value in (("zeros", 0), ("ones", 1)):
        assert CsvDataset(file, **{option: policy}).labels[:, 1].tolist() == [0, value, 1]
    data = CsvDataset(file, **{option: "ignore"})
    assert data.labels[:, 1].isnan().tolist() == [False, True, False]
    assert describe_balance(labels_of(data)).endswith(
        "labels an image, 16.7% unknown and ignored: a 2 (66.7%), b 1 (33.3%)."
    )
    other = {"uncertain": "missing", "missing": "uncertain"}[option]
    with pytest.raises(UsageError, match="in the column `b`"):
        CsvDataset(file, **{other: "ignore"})


def test_few_labels_are_drawn_among_the_known(folder):
    file = table(folder, "path,a,b", *rows("1,-1", "-1,-1", "0,1", "1,0", "-1,1", "0,0"))
    data = CsvDataset(file, uncertain="ignore", labels_per_class=1)
    assert len(data) == 3  # one with a, one with b, one with neither


def test_a_policy_that_there_is_not(folder):
    with pytest.raises(UsageError, match="uncertain is 'ignoring', but must be one of refuse, ignore, zeros, ones"):
        CsvDataset(table(folder, "path,a,b", *rows("1,0", "0,1")), uncertain="ignoring")


@pytest.mark.parametrize("labels", [(0.25, 1.5, 0.25, 3.0), ("1e-3", 2, 2, 1), (-1.5, -1.5, 2, 2)])
def test_measurements_are_no_classes(folder, labels):
    with pytest.raises(
        UsageError, match=r"column `label` of .* holds measurements, \d different numbers from .*: predict them with an"
    ):
        CsvDataset(table(folder, "path,label", *rows(*labels)))


def test_decimal_commas_are_numbers(folder):
    path = folder / "commas.csv"
    path.write_text("path;label\nimages/0.png;0,25\nimages/1.png;-1,5\n")
    with pytest.raises(UsageError, match=r"holds measurements, 2 different numbers from -1.5 to 0.25"):
        CsvDataset(path)
    assert CsvDataset(path, targets="label").labels.flatten().tolist() == [0.25, -1.5]


def test_whole_numbers_that_seldom_repeat_are_no_classes():
    refuse_measurements("t", [str(i % 20) for i in range(60)])
    refuse_measurements("t", [*map(str, range(59)), "unknown"])
    with pytest.raises(
        UsageError, match="The column `label` of t holds measurements, 40 different numbers from 0 to 39"
    ):
        refuse_measurements("t", [str(i % 40) for i in range(60)])


@pytest.mark.parametrize(
    ("column", "cells"),
    [("age", (23.5, 41.0, 60.25)), ("weight", ("70,5", "81,2", "60,9")), ("age", (23.5, "", 41.5))],
)
def test_measurements_in_any_column_have_the_same_sentence(folder, column, cells):
    sentence = (
        f"The column `{column}` of .* holds measurements, . different numbers .*dataset.targets={column}, or write"
    )
    for header, more in ((f"path;{column}", ""), (f"path;{column};sick", ";1")):
        with pytest.raises(UsageError, match=sentence):
            CsvDataset(table(folder, header, *(f"images/{i}.png;{cell}{more}" for i, cell in enumerate(cells))))


@pytest.mark.parametrize(
    ("header", "cells", "classes"),
    [
        ("path,Label", ("b", "a"), ["a", "b"]),
        ("path,LABELS,age", ("b,1.5", "a,2.5"), ["a", "b"]),
        ("path,class,comment", ("3,x", "1,y"), ["1", "3"]),
        ("path,Class Name", ("b", "a"), ["a", "b"]),
        ("path,category,target", ("b,1", "a,0"), ["a", "b"]),
        ("path,target", ("1", "0"), ["target"]),  # a finding, as before
        ("path,class,edema", ("1,0", "0,1"), ["class", "edema"]),
        (",path,label", None, ["a", "b"]),
    ],
)
def test_usual_names_of_the_column_of_classes(folder, header, cells, classes):
    lines = rows(*cells) if cells else ["0,images/0.png,b", "1,images/1.png,a"]
    assert CsvDataset(table(folder, header, *lines)).classes == classes


def test_columns_of_classes_can_be_named(folder):
    file = table(folder, "path,species,age,sick,old", *rows("cat,3.5,0,1", "dog,4.5,1,1", "cat,2.0,1,0"))
    data = CsvDataset(file, label_columns="species")
    assert data.classes == ["cat", "dog"] and data.labels.tolist() == [0, 1, 0]
    data = CsvDataset(file, label_columns=["old", "sick"])
    assert data.classes == ["old", "sick"] and data.labels.tolist() == [[1, 0], [1, 1], [0, 1]]
    with pytest.raises(UsageError, match=r"label_columns names `kind`, but .* has the columns path, species, age"):
        CsvDataset(file, label_columns=["sick", "kind"])
    with pytest.raises(UsageError, match=r"`cat` in the column `species`.*one class for each image, set dataset.l"):
        CsvDataset(file)
    grades = table(folder, "path,grade", *rows(0, 2, 1, 2, 0, 1))
    with pytest.raises(
        UsageError, match=r"set dataset.label_columns=grade, and .*ImageRegressor.* with dataset.targets=g"
    ):
        CsvDataset(grades)
    assert CsvDataset(grades, label_columns="grade").classes == ["0", "1", "2"]


@pytest.mark.parametrize("cell", ["nan", "N/A", "#N/A", "NULL", "<NA>"])
def test_what_programs_write_for_nothing_is_no_class(folder, cell):
    with pytest.raises(UsageError, match=r"1 of 3 rows of .* have no label \(first images/1.png\)"):
        CsvDataset(table(folder, "path,label", *rows("a", cell, "b")))


@pytest.mark.parametrize(
    "text",
    [
        "path;label\nimages/0.png;a\nimages/1.png;b\n",
        "sep=;\r\npath;label\r\nimages/0.png;a\r\nimages/1.png;b\r\n",
        "SEP=\t\npath\tlabel\nimages/0.png\ta\nimages/1.png\tb\n",
        "\n\npath;label\nimages/0.png;a\n;\n\nimages/1.png;b\n",
        'path, label\n"images/0.png", "a"\nimages/1.png, b\n',
        '"path";"label";"what, where, when, why"\nimages/0.png;a;x\nimages/1.png;b;y\n',
        "path,label,\nimages/0.png,a,\nimages/1.png,b,\n",
        "path\tlabel\tnote\nimages/0.png\ta\tone; two; three\nimages/1.png\tb\t\n",
    ],
)
def test_tables_as_programs_write_them(folder, text):
    (folder / "t.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    data = CsvDataset(folder / "t.csv")
    assert data.classes == ["a", "b"] and [data.name_of(i) for i in range(2)] == ["images/0.png", "images/1.png"]


def test_columns_that_number_the_rows_are_no_classes(folder):
    lines = ["Unnamed: 0,path,,sick,old", "0,images/0.png,0,0,1", "1,images/1.png,1,1,0"]
    assert CsvDataset(table(folder, *lines)).classes == ["sick", "old"]


@pytest.mark.parametrize(
    "other", ["./images/0.png", "images//0.png", "images/../images/0.png", "images\\0.png", "absolute"]
)
def test_one_file_under_two_names_is_named_in_several_rows(folder, other):
    other = str(folder / "images" / "0.png") if other == "absolute" else other
    with pytest.raises(UsageError, match=r"names images/0.png and .* in several rows"):
        CsvDataset(table(folder, "path,label", "images/0.png,a", f"{other},b", "images/1.png,b"))


def test_names_of_files_of_other_systems(folder):
    (folder / "images" / "0.png").rename(folder / "images" / "M\u00fcller.png")
    (folder / "images" / "1.png").rename(folder / "images" / "Ze\u0301.png")
    lines = ["images\\Mu\u0308ller.png,a", "images/Z\u00e9.png,b", "images\\2.png,b"]
    data = CsvDataset(table(folder, "path,label", *lines))
    assert [int(data[i]["inputs"][0, 0, 0]) for i in range(3)] == [0, 1, 2]


def test_two_columns_of_one_name_are_refused(folder):
    with pytest.raises(UsageError, match=r"has two columns of the name `a`: give each a name"):
        CsvDataset(table(folder, "path,a,b,a", *rows("1,0,0", "0,1,1")))


@pytest.mark.parametrize("cells", [("7", "007", "7", "10"), ("Dog", "dog", "cat"), ("1", "1.0", "2")])
def test_classes_that_look_alike_are_apart_in_one_order_and_told(folder, caplog, cells):
    data = CsvDataset(table(folder, "path,label", *rows(*cells)))
    assert data.classes == {"7": ["007", "7", "10"], "Dog": ["Dog", "cat", "dog"], "1": ["1", "1.0", "2"]}[cells[0]]
    assert "which are kept apart" in caplog.text and f"`{cells[1]}`" in caplog.text


def test_names_of_classes_with_spaces_and_accents(folder, caplog):
    data = CsvDataset(
        table(folder, "path,label", *rows("hot dog", "gr\u00fcn", "gru\u0308n", "  hot dog ", "'x'", "1 000"))
    )
    assert data.classes == ["'x'", "1 000", "gr\u00fcn", "hot dog"] and not caplog.text


@pytest.mark.parametrize("cells", [("950", "1,234", "2,000"), ("-1,234", "12,345,678", "5"), ("1,234.5", "3.5", "1")])
def test_commas_that_may_be_thousands_are_asked_about(folder, cells):
    with pytest.raises(UsageError, match=r"in the column `label`, which may be thousands or a decimal comma: write"):
        CsvDataset(
            table(folder, "path;label", *(f"images/{i}.png;{cell}" for i, cell in enumerate(cells))), targets="label"
        )


@pytest.mark.parametrize("cells", [("1,234", "2,5", "0,250"), ("0,125", "0,250", "0,375")])
def test_commas_that_are_decimal(folder, cells):
    file = table(folder, "path;label", *(f"images/{i}.png;{cell}" for i, cell in enumerate(cells)))
    found = CsvDataset(file, targets="label").labels.flatten().tolist()
    assert found == pytest.approx([float(cell.replace(",", ".")) for cell in cells])


def test_a_list_in_a_cell_is_no_class(folder):
    with pytest.raises(UsageError, match=r"several labels of an image are written as columns"):
        CsvDataset(table(folder, "path;label", "images/0.png;['a', 'b']", "images/1.png;['a']"))


def test_numbers_to_predict_are_no_classes_and_a_config_for_them_is_named(folder, repository):
    file = table(folder, "path,age", *rows(1.5, 2.5, 3.5, 4.5))
    for read in (lambda: CsvDataset(file), lambda: labels_of(CsvDataset(file, targets="age"))):
        with pytest.raises(UsageError, match=r"ImageRegressor, as in maetool::(\S+\.py)") as info:
            read()
        config = re.search(r"maetool::(\S+\.py)", str(info.value))[1]
        assert "ImageRegressor" in (repository / "configs" / "_base_" / "models" / "regressor.py").read_text()
        assert "models/regressor.py" in (repository / "configs" / config).read_text()


@pytest.mark.parametrize("cell", ["-1", "?", "NA", "None", "-", "Unlabeled"])
def test_a_class_that_may_mean_that_nothing_is_known_is_told(folder, caplog, cell):
    others = ("0", "1") if cell == "-1" else ("cat", "dog")
    CsvDataset(table(folder, "path,label", *rows(*others, cell, *others)))
    text = f"1 of 5 rows of {folder / 'labels.csv'} have the label `{cell}`, which is used as a class"
    assert text in caplog.text
    caplog.clear()
    CsvDataset(folder / "labels.csv")  # from the cache
    assert text in caplog.text
    caplog.clear()
    CsvDataset(table(folder, "path,label", *rows("-1", "1", "-1", "1"), name="signs.csv"))
    assert "is used as a class" not in caplog.text
