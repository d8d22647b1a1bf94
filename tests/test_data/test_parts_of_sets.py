"""Parts of a data set: names of folders, tables and columns; groups that stay together."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from maetool.commands import prepare_dataset, test
from maetool.config.layouts.places import all_images, places
from maetool.config.load import load_for
from maetool.data.datasets import CsvDataset, ImageFolderDataset
from maetool.data.datasets.subsets import Subset
from maetool.data.sources.part_names import part_of, parts_among
from maetool.errors import UsageError
from maetool.registry import DATASETS

PICTURE = Image.new("RGB", (8, 8), "red")


def put(root, *names):
    for name in names:
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        PICTURE.save(path)


def names_of(place):
    dataset = DATASETS.build({**place, "pipeline": []})
    return [Path(dataset.files.path(i)) for i in range(len(dataset))], dataset


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("part", "names"),
    {
        "train": ["train", "Train", "TRAINING", "train2017", "images-train", "train_images", "trainset", "Train Data",
                  "trainImages", "TrainingSet", "imagesTr", "imagestrain", "trn_imgs"],
        "val": ["validationset", "ValImages", "imagesVa",
                "val", "valid", "Validation", "dev", "eval", "val2017", "images_val", "VALSET"],
        "test": ["test", "Testing", "holdout", "held_out", "test-2015", "PrivateTest",
                 "public_test", "HeldOut", "testdata", "imagesTs"],
        None: ["trains", "bus", "train_station", "devices", "evaluate me", "2017", "images", "train_val",
               "tr", "trainA", "bullet_train", ""],
    }.items(),
)  # fmt: skip
def test_names_of_parts(part, names):
    assert [part_of(name) for name in names] == [part] * len(names)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(
    "layout",
    [
        "{}/{}", "images/{}/{}", "{}/images/{}", "images-{}/{}", "{}2017/{}", "{}_images/{}",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("train", "val", "test"), [("train", "valid", "test"), ("Training", "dev", "holdout"), ("TRAIN", "EVAL", "Testing")]
)
def test_folders_of_parts(tmp_path, caplog, layout, train, val, test, labelled):
    for part in (train, val, test):
        put(tmp_path / "set", *(f"{layout.format(part, kind)}/{part}{i}.png" for kind in "ab" for i in range(3)))
    for use, place in zip((train, val), places(tmp_path / "set", labelled), strict=True):
        files, dataset = names_of(place)
        assert {path.name for path in files} == {f"{use}{i}.png" for i in range(3)} and len(files) == 6
        assert dataset.classes == (["a", "b"] if labelled or use == val else [])
    assert test in caplog.text and "is left out" in caplog.text


@pytest.mark.parametrize(
    ("names", "parts"),
    {
        ("seg_train", "seg_test", "seg_pred"): {"train": "seg_train", "test": "seg_test"},
        ("cars_train", "cars_val"): {"train": "cars_train", "val": "cars_val"},
        ("bounding_box_train", "bounding_box_test", "query"): {
            "train": "bounding_box_train",
            "test": "bounding_box_test",
        },
        ("trainval", "test"): {"train": "trainval", "test": "test"},
        ("train", "val", "trainval"): {"train": "train", "val": "val"},
        ("train_images", "train_masks", "val_images"): {"train": "train_images", "val": "val_images"},
        ("labelsTr", "imagesTr", "imagesTs"): {"train": "imagesTr", "test": "imagesTs"},
        ("bullet_train", "test_tube"): {},
        ("train_station", "bus"): {},
        ("cat", "dog"): {},
    }.items(),
)
def test_parts_among_folders(tmp_path, names, parts):
    assert {part: name for name, part in parts_among(names).items()} == parts
    put(tmp_path / "set", *(f"{name}/{kind}/{i}.png" for name in names for kind in "ab" for i in range(5)))
    train, val = places(tmp_path / "set", True)
    assert Path(train["root"]).name == parts.get("train", "set")
    assert Path(val["root"]).name == parts.get("val", parts.get("train", "set"))


@pytest.mark.parametrize("names", [("train", "val"), ("seg_train", "seg_test"), ("TrainImages", "TestImages")])
def test_folders_of_parts_are_no_classes_of_a_dataset(tmp_path, names):
    put(tmp_path / "set", *(f"{name}/{kind}/{i}.png" for name in names for kind in ("cat", "dog") for i in range(3)))
    data = ImageFolderDataset(tmp_path / "set", with_labels=True)
    assert data.classes == ["cat", "dog"] and data.labels.tolist() == [0, 0, 0, 1, 1, 1] * 2
    assert all_images(str(tmp_path / "set"))["with_labels"]
    train = ImageFolderDataset(tmp_path / "set", with_labels=True, split="train")
    assert train.classes == ["cat", "dog"] and len(train) == 6


def test_parts_without_classes_have_no_labels(tmp_path):
    put(tmp_path / "set", *(f"{part}/images/{i}.png" for part in ("train", "val") for i in range(3)))
    put(tmp_path / "flat", *(f"{part}/{i}.png" for part in ("train", "val") for i in range(3)))
    put(tmp_path / "bus", *(f"{part}/{i}.png" for part in ("train", "bus") for i in range(3)))
    assert (
        not all_images(str(tmp_path / "set"))["with_labels"] and not all_images(str(tmp_path / "flat"))["with_labels"]
    )
    assert ImageFolderDataset(tmp_path / "bus", with_labels=True).classes == ["bus", "train"]


def test_parts_of_any_names_are_prepared_apart(tmp_path, monkeypatch, capsys):
    parts = ("seg_train", "seg_val", "seg_test")
    put(tmp_path / "set", *(f"{name}/{kind}/{i}.png" for name in parts for kind in "ab" for i in range(3)))
    arguments = ["prepare_dataset", str(tmp_path / "set"), str(tmp_path / "out"), "--workers", "1"]
    monkeypatch.setattr("sys.argv", arguments)
    prepare_dataset.main()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["test", "train", "val"]
    assert [len(names_of(place)[0]) for place in places(tmp_path / "out", True)] == [6, 6]


def test_folders_that_are_left_out_or_look_like_parts_are_named(tmp_path, caplog):
    put(tmp_path / "set", *(f"{name}/{kind}/0.png" for name in ("train", "val", "unlabeled") for kind in "ab"))
    places(tmp_path / "set", False)
    assert "`unlabeled` are of no part and left out" in caplog.text
    caplog.clear()
    put(tmp_path / "like", *(f"{name}/{i}.png" for name in ("bullet_train", "test_tube", "cat") for i in range(5)))
    places(tmp_path / "like", True)
    assert "the folders `bullet_train`, `test_tube` are not taken for parts" in caplog.text


@pytest.mark.parametrize("around", ["data", "archive/archive", "train"])
def test_folders_around_the_parts(tmp_path, around):
    parts = ("seg_train/seg_train", "seg_val/seg_val")
    put(tmp_path / "set", *(f"{around}/{part}/{kind}/{i}.png" for part in parts for kind in "ab" for i in range(3)))
    for place, part in zip(places(tmp_path / "set", True), parts, strict=True):
        assert place["root"].endswith(f"{around}/{part}") and names_of(place)[1].classes == ["a", "b"]


def test_parts_inside_of_classes(tmp_path):
    put(
        tmp_path / "set",
        *(f"{kind}/{part}/{i}.png" for kind in "ab" for part in ("Train", "Test", "val") for i in (0, 1)),
    )
    train, val = (names_of(place) for place in places(tmp_path / "set", True))
    assert {path.parent.name for path in train[0]} == {"Train"} and {path.parent.name for path in val[0]} == {"val"}
    assert train[1].classes == ["a", "b"] and train[1].labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(UsageError, match="split is 'rest', but must be"):
        ImageFolderDataset(tmp_path / "set", split="rest")


@pytest.mark.parametrize("labelled", [True, False])
def test_no_images_of_the_test_part_validate(tmp_path, labelled):
    put(
        tmp_path / "set",
        *(f"{part}/{kind}/{part}{i}.png" for kind in "ab" for part in ("train", "test") for i in range(5)),
    )
    for place in places(tmp_path / "set", labelled):
        assert all(path.name.startswith("train") for path in names_of(place)[0])


def test_a_class_may_be_called_like_a_part(tmp_path):
    put(tmp_path / "set", *(f"{kind}/{i}.png" for kind in ("train", "bus") for i in range(5)))
    assert names_of(places(tmp_path / "set", True)[0])[1].classes == ["bus", "train"]


def test_two_folders_for_one_part(tmp_path):
    put(
        tmp_path / "set",
        *(f"{part}/{kind}/{i}.png" for part in ("train", "val", "dev") for kind in "ab" for i in (0, 1)),
    )
    with pytest.raises(UsageError, match="has `dev` and `val`, which may both be the part val"):
        places(tmp_path / "set", True)


def test_images_beside_labels(tmp_path):
    for part in ("train", "val"):
        put(tmp_path / "set", *(f"{part}/images/{i}.png" for i in range(4)))
        (tmp_path / "set" / part / "labels").mkdir()
    train, val = places(tmp_path / "set", False)
    assert (train["with_labels"], val["with_labels"]) == (False, False)
    assert Path(val["root"]).parts[-2:] == ("val", "images")


def test_tables_of_roboflow(tmp_path):
    for part in ("train", "valid"):
        put(tmp_path / "set" / part, *(f"{i}.png" for i in range(4)))
        rows = "".join(f"{i}.png, {i % 2}, {i // 2}\n" for i in range(4))
        (tmp_path / "set" / part / "_classes.csv").write_text("filename, cat, dog\n" + rows)
    train, val = (names_of(place)[1] for place in places(tmp_path / "set", True))
    assert train.classes == val.classes == ["cat", "dog"] and val.labels.tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("column", "train", "val"),
    [
        ("split", "train", "val"), ("Split", "Training", "VALID"), ("fold", "train", "dev"),
        ("subset", "train", "eval"), ("partition", "trn", "validation"), ("is_train", "1", "0"),
        ("is_valid", "False", "True"), ("set", "train", "val"),
        ("phase", "train", "val"), ("Dataset", "TRAIN", "valid"), ("train_test_split", "train", "val"),
        ("is_training_image", "1", "0"), ("isTrain", "true", "false"), ("split", "tr", "va"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("header", ["label", "sick"])
def test_columns_of_parts(tmp_path, column, train, val, header):
    put(tmp_path, *(f"{i}.png" for i in range(8)))
    rows = [f"{i}.png,{i % 2},{train if i < 5 else val}\n" for i in range(8)]
    (tmp_path / "t.csv").write_text(f"path,{header},{column}\n" + "".join(rows))
    parts = [names_of(place) for place in places(tmp_path / "t.csv", True)]
    assert [[path.stem for path in files] for files, _ in parts] == [["0", "1", "2", "3", "4"], ["5", "6", "7"]]
    assert parts[0][1].classes == (["0", "1"] if header == "label" else ["sick"])


@pytest.mark.parametrize("other", ["", "unused"])
def test_rows_of_no_part_are_left_out_and_counted(tmp_path, caplog, other):
    put(tmp_path, *(f"{i}.png" for i in range(8)))
    rows = [f"{i}.png,{i % 2},{('train', 'val', other)[i // 3]}\n" for i in range(8)]
    (tmp_path / "t.csv").write_text("path,label,split\n" + "".join(rows))
    assert [len(names_of(place)[0]) for place in places(tmp_path / "t.csv", True)] == [3, 3]
    assert f"2 of 8 rows are of no part, such as {other!r} in the column `split`, and left out" in caplog.text


def test_a_column_of_other_things_is_none_of_parts(tmp_path):
    put(tmp_path, *(f"{i}.png" for i in range(8)))
    rows = [f"{i}.png,{i % 2},{('train', 'bus')[i % 2]}\n" for i in range(8)]
    (tmp_path / "t.csv").write_text("path,label,mode\n" + "".join(rows))
    assert [place.get("split") for place in places(tmp_path / "t.csv", True)] == [None, None]


def test_a_part_that_a_table_has_not(tmp_path):
    put(tmp_path, "0.png", "1.png")
    (tmp_path / "t.csv").write_text("path,label,split\n0.png,a,train\n1.png,b,train\n")
    with pytest.raises(UsageError, match=r"split is 'val', but no row of .* is of this part"):
        CsvDataset(tmp_path / "t.csv", split="val")
    with pytest.raises(UsageError, match=r"group_column is 'who', but .* has the columns path, label, split"):
        CsvDataset(tmp_path / "t.csv", group_column="who")


@pytest.mark.parametrize("few", [{}, {"labels_fraction": 0.3}, {"labels_per_class": 6}])
@pytest.mark.parametrize("header", ["label", "sick"])
def test_groups_stay_whole(tmp_path, few, header):
    put(tmp_path, *(f"{i}.png" for i in range(80)))
    rows = [f"{i}.png,{i // 4 % 2},{i // 4 % 2 if i // 4 < 2 else i // 4}\n" for i in range(80)]
    (tmp_path / "t.csv").write_text(f"path,{header},patient\n" + "".join(rows))
    table = {"csv_file": tmp_path / "t.csv", "group_column": "patient"}
    train, val = CsvDataset(part="train", **few, **table), CsvDataset(part="val", **table)
    assert train.classes == val.classes and "patient" not in train.classes
    patients = [{int(data.name_of(i)[:-4]) // 4 for i in range(len(data))} for data in (train, val)]
    assert not patients[0] & patients[1] and len(val) == 16
    assert len(train) == 4 * len(patients[0])
    assert 8 <= len(train) <= 24 if few else len(train) == 64


def test_groups_of_uneven_sizes_and_one_group():
    groups = torch.tensor([0] * 50 + list(range(1, 51)))
    val = Subset("val").choose(100, None, groups)
    assert len(val) == 20 and min(val) >= 50
    with pytest.raises(UsageError, match="All images are of one group"):
        Subset("val").choose(4, None, torch.zeros(4, dtype=torch.int64))


def test_the_group_column_of_the_training_data_is_that_of_all(repository, tmp_path):
    put(tmp_path, *(f"{i}.png" for i in range(8)))
    (tmp_path / "t.csv").write_text("path,label,who\n" + "".join(f"{i}.png,{i % 2},{i // 2}\n" for i in range(8)))
    options = ["train_dataloader.dataset.group_column=who"]
    cfg, _ = load_for(repository / "configs/finetune/vit-t_shapes.py", options, str(tmp_path / "t.csv"))
    assert cfg.val_dataloader.dataset.group_column == "who"


TABLES = {
    "measurements": "path,age\n{}.png,23.5\n",
    "paths alone": "path\n{}.png\n",
    "words": "path,note\n{}.png,a dog; a cat?\n",
    "gaps": "path,label\n{}.png,\n",
    "one class": "path,label\n{}.png,x\n",
}


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("name", ["t.csv", "train.csv"])
def test_pretraining_asks_no_table_for_labels(repository, tmp_path, caplog, text, name):
    put(tmp_path, *(f"{i}.png" for i in range(10)))
    header, row = text.splitlines()
    (tmp_path / name).write_text("\n".join([header, *(row.format(i) for i in range(10))]) + "\n")
    data = str(tmp_path / name if name == "t.csv" else tmp_path)
    cfg, _ = load_for(repository / "configs/mae/vit-t_shapes.py", data=data)
    train, val = (
        DATASETS.build({**loader.dataset, "pipeline": []}) for loader in (cfg.train_dataloader, cfg.val_dataloader)
    )
    assert (len(train), len(val)) == (8, 2)
    assert train.labels is None and train.classes == [] and "label" not in train[0]
    assert not cfg.val_cfg.get("bank_dataloader")
    assert "are used without labels, which nothing needs here" in caplog.text
    assert len(DATASETS.build(all_images(str(tmp_path / name)))) == 10
    with pytest.raises(UsageError):
        load_for(repository / "configs/finetune/vit-t_shapes.py", data=data)


def test_a_table_whose_files_are_missing_is_refused_all_the_same(tmp_path):
    (tmp_path / "t.csv").write_text("path,age\n0.png,1.5\n1.png,2.5\n")
    with pytest.raises(UsageError, match="2 of 2 paths"):
        places(tmp_path / "t.csv", False)


def test_labels_that_can_be_read_still_serve_neighbours(repository, tmp_path):
    put(tmp_path, *(f"{i}.png" for i in range(10)))
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(10)))
    cfg, _ = load_for(repository / "configs/mae/vit-t_shapes.py", data=str(tmp_path / "t.csv"))
    assert "labelled" not in cfg.train_dataloader.dataset and cfg.val_cfg.bank_dataloader.dataset.csv_file


@pytest.mark.parametrize(("option", "told"), [([], True), (["val_dataloader.dataset.part=all"], False)])
def test_a_test_on_a_share_of_the_images_is_told(repository, tmp_path, caplog, option, told):
    put(tmp_path / "set", *(f"{kind}/{i}.png" for kind in "ab" for i in range(5)))
    config = repository / "configs/finetune/vit-t_shapes.py"
    cfg, _ = load_for(config, option, str(tmp_path / "set"), adopt=False)
    test.tell_of_share(cfg, str(tmp_path / "set"))
    assert ("only the images that a training on it holds out are scored" in caplog.text) == told
    assert len(names_of({**cfg.val_dataloader.dataset, "pipeline": []})[0]) == (2 if told else 10)
