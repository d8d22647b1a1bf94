"""Numbered folds: in columns of tables and in names of folders, one of them held out."""

import pytest
from PIL import Image

from maetool.config.layouts.places import places
from maetool.config.load import load_for
from maetool.data import CsvDataset, ImageFolderDataset, SourceDataset
from maetool.data.sources import FolderSource, MixtureSource, PairedSource, TableSource
from maetool.data.sources.folds import fold_of, folds_in_column
from maetool.errors import UsageError
from maetool.registry import DATASETS

CONFIG = "configs/finetune/vit-t_shapes.py"


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(root / name)


def table(root, cells, column="fold", more=""):
    put(root, *(f"{i}.png" for i in range(len(cells))))
    lines = [f"path,label,{column}{',split' * bool(more)}"]
    lines += [f"{i}.png,{'ab'[i % 2]},{cell}{more and ',' + more[i]}" for i, cell in enumerate(cells)]
    (root / "t.csv").write_text("\n".join(lines) + "\n")
    return root / "t.csv"


@pytest.mark.parametrize("name", ["fold_0", "fold0", "Fold-0", "fold 00", "cv_fold_0", "FOLDS_0"])
def test_names_of_folders(name):
    assert fold_of(name) == 0


@pytest.mark.parametrize("name", ["0", "class_0", "fold", "folder_0", "blindfold_0", "fold_0_a", "fold_1234"])
def test_names_that_are_no_folds(name):
    assert fold_of(name) is None


@pytest.mark.parametrize(
    ("cells", "folds"),
    [
        (["0", "1", "2"], [0, 1, 2]),
        (["1.0", " 2.0"], [1, 2]),
        (["fold_1", "Fold 2"], [1, 2]),
        (["train", "1"], None),
        (["1", "1"], None),
        (["", "1", "2"], None),
        ([str(i) for i in range(101)], None),
    ],
)
def test_cells(cells, folds):
    assert folds_in_column(cells) == folds


@pytest.mark.parametrize("column", ["fold", "Fold", "strat_fold", "kfold", "cv fold", "split"])
def test_a_column_of_folds(tmp_path, column):
    path = table(tmp_path, ["0", "1", "2", "0", "1", "2"], column)
    held = {"train": ["0.png", "1.png", "3.png", "4.png"], "val": ["2.png", "5.png"], "all": 6}
    for part in ("train", "val"):
        data = CsvDataset(path, part=part, fold=2)
        assert [data.name_of(i) for i in range(len(data))] == held[part] and data.classes == ["a", "b"]
    assert len(CsvDataset(path, fold=2)) == 6
    with pytest.raises(UsageError, match=r"fold is 5, but the folds of .*t.csv are 0, 1, 2: choose one"):
        CsvDataset(path, fold=5)


def test_a_table_without_folds(tmp_path):
    with pytest.raises(UsageError, match=r"fold is 0, but the folds of .* are none: .*fold=None to hold out a fifth"):
        CsvDataset(table(tmp_path, ["x", "y", "x", "y"]), fold=0)


def test_folds_are_no_classes_of_several_labels(tmp_path):
    put(tmp_path, *(f"{i}.png" for i in range(4)))
    (tmp_path / "t.csv").write_text("path,sick,old,fold\n0.png,0,1,1\n1.png,1,1,2\n2.png,1,0,1\n3.png,0,0,2\n")
    assert CsvDataset(tmp_path / "t.csv").classes == ["sick", "old"]


def test_folds_of_the_training_rows_alone(tmp_path, caplog):
    cells, more = ["0", "1", "0", "1", "0", "1"], ["train", "train", "train", "train", "test", "test"]
    train, val = places(table(tmp_path, cells, more=more), True)
    assert train["split"] == val["split"] == "train" and train["fold"] == val["fold"] == 0
    data = [DATASETS.build(place) for place in (train, val)]
    assert [[each.name_of(i) for i in range(len(each))] for each in data] == [["1.png", "3.png"], ["0.png", "2.png"]]


@pytest.mark.parametrize(
    "layout", ["{fold}/{label}/{i}.png", "{label}/{fold}/{i}.png", "images/{fold}/{label}/{i}.png"]
)
def test_folders_of_folds(tmp_path, caplog, layout):
    for fold in ("fold_1", "fold_2", "fold_3"):
        put(tmp_path, *(layout.format(fold=fold, label=label, i=i) for label in "ab" for i in range(2)))
    train, val = places(tmp_path, True)
    assert (train["fold"], train["part"], val["part"], val["with_labels"]) == (1, "train", "val", True)
    assert (
        "the folds 1, 2, 3: one is held out" in caplog.text
        and "it is fold 1 unless" in caplog.text
        and "train_dataloader.dataset.fold=2" in caplog.text
    )
    train, val = (ImageFolderDataset(**{**place, "fold": 3}) for place in (_arguments(train), _arguments(val)))
    assert (train.classes, len(train), len(val)) == (["a", "b"], 8, 4)
    assert all("fold_3" in val.name_of(i) for i in range(4))
    assert val.labels.tolist() == [0, 0, 1, 1]


def _arguments(place):
    return {name: value for name, value in place.items() if name != "type"}


def test_pretraining_leaves_the_fold_out_and_needs_no_classes(tmp_path):
    put(tmp_path, *(f"fold{k}/{i}.png" for k in range(3) for i in range(2)))
    train, val = (DATASETS.build(place) for place in places(tmp_path, False))
    assert (len(train), len(val), val.labels) == (4, 2, None)


def test_the_fold_of_the_training_data_is_that_of_all(repository, tmp_path):
    path = table(tmp_path, [str(i % 3) for i in range(12)])
    cfg, _ = load_for(repository / CONFIG, ["train_dataloader.dataset.fold=2"], str(path))
    train, val = cfg.train_dataloader.dataset, cfg.val_dataloader.dataset
    assert (train.fold, train.part, val.fold, val.part) == (2, "train", 2, "val")
    assert len(DATASETS.build({**val, "pipeline": []})) == 4


def test_sources_of_sources_pass_the_fold_on(tmp_path):
    one, other = (TableSource(table(tmp_path / name, ["0", "1", "0", "1"]), fold=1) for name in ("one", "two"))
    held = [False, True, False, True]
    assert one.take([1, 2]).held_out().tolist() == [True, False]
    assert PairedSource([one, other], [3, 3]).held_out().tolist() == held
    assert MixtureSource({"one": one, "two": FolderSource(tmp_path / "two")}).held_out().tolist() == held + [False] * 4
    last = TableSource(tmp_path / "two" / "t.csv", fold=0)
    with pytest.raises(UsageError, match="know different folds of the same samples"):
        PairedSource([one, last], [3, 3]).held_out()
    plain = FolderSource(tmp_path / "one")
    assert plain.held_out() is None and PairedSource([plain, plain], [3, 3]).held_out() is None


AROUND = {
    "FrameSource": lambda inner: {"source": inner},
    "WindowSource": lambda inner: {"source": inner, "size": 16},
    "PairedSource": lambda inner: {"sources": [inner, inner], "channels": [3, 3]},
    "MixtureSource": lambda inner: {"sources": {"a": inner}, "weights": {"a": 1.0}},
}


@pytest.mark.parametrize("kind", AROUND)
def test_a_fold_inside_of_another_source(tmp_path, kind):
    path = table(tmp_path, ["0", "1", "2", "0", "1", "2"])
    inner = {"type": "TableSource", "csv_file": str(path), "fold": 1}
    source = {"type": kind, **AROUND[kind](inner)}
    chans = 6 if kind == "PairedSource" else 3
    for part, files in (("val", {"1.png", "4.png"}), ("train", {"0.png", "2.png", "3.png", "5.png"})):
        data = SourceDataset(source, chans, part=part)
        names = [data.files.relative(index).rpartition("/")[2] for index in range(len(data))]
        assert {name.partition("#")[0] for name in names} == files
