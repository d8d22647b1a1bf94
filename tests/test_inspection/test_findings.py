"""What `maetool check` says of a data set."""

import os
from pathlib import Path

import numpy as np
import pytest
from people_data import picture

from maetool.config.layouts.places import places
from maetool.config.load import load_for
from maetool.inspection.inspect import Effort, inspect_data
from maetool.inspection.text import to_text


def said(report, severity=None):
    """Return the sentences of a severity as one text."""
    return "\n".join(f.sentence for f in report.findings if severity in (None, f.severity))


def classes(data, **counts):
    return data.images(*(f"{name}/{i}.png" for name, count in counts.items() for i in range(count)))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x.mp4", "a video: write its frames as images"),
        ("x.zip", "an archive: unpack it"),
        ("x.tar.gz", "an archive: unpack it"),
        ("x.CR2", "a camera's raw file"),
        ("x.h5", "a container of arrays"),
        ("x.parquet", "a table with images inside"),
        ("x.pdf", "a drawing"),
        ("x.czi", "a microscope's format"),
        ("x.pkl", "a file that can run code"),
        ("x.odd", "not a known image"),
    ],
)
def test_files_that_are_passed_over(data, name, reason):
    classes(data, a=3, b=3).text(f"a/{name}", "x").text("a/notes.txt", "x")
    report = inspect_data(data.root)
    assert f"1 file is passed over (.{name.lower().partition('.')[2]}): {reason}" in said(report, "warning")
    assert ".txt" not in said(report)  # which lie beside images everywhere
    assert sum(report.files.passed_over.values()) == 2


def test_other_files(data):
    classes(data, a=3, b=3).text(".hidden", "x")
    (data.root / "empty").mkdir()
    os.symlink(data.root / "gone.png", data.root / "a" / "link.png")
    report = inspect_data(data.root)
    assert report.files.used == {".png": 7}  # as a training counts it, before it is opened
    assert "1 empty folder, the first is empty" in said(report)
    assert "1 of 7 images cannot be read" in said(report, "error")
    assert report.files.passed_over == {("without an ending", "a hidden file"): 1}


def test_broken_images(data):
    classes(data, a=6, b=6).text("a/cut.png", "\x89PNG")
    (data.root / "a" / "empty.jpg").write_bytes(b"")
    report = inspect_data(data.root)
    assert "2 of 14 images cannot be read with 3 channels" in said(report, "error")
    assert len(report.broken) == 2 and "the file is empty" in to_text(report)


@pytest.mark.parametrize(
    ("array", "ending", "options", "sentence"),
    [
        (picture(0, channels=1)[..., 0], ".png", ["model.encoder.in_chans=1"], "All pictures are grey: the options"),
        (picture(0, channels=1).repeat(3, axis=2), ".png", [], "though they have three channels"),
        (picture(0)[..., 0].astype(np.uint16) * 16, ".png", ["model.encoder.in_chans=1"], "more than 8 bits"),
        (picture(0)[..., 0] // 64, ".png", ["model.encoder.in_chans=1"], "The highest value is 3 of 255"),
        (picture(0, channels=7), ".npy", ["model.encoder.in_chans=7"], None),
        (picture(0, channels=20), ".npy", ["model.encoder.in_chans=20"], "There are arrays of 20 channels"),
        (picture(0) / np.float32(255), ".npy", [], "The values lie between 0 and 1"),
        (picture(0, (8, 100)), ".png", [], "more than 4 times as long as wide"),
    ],
)
def test_pixels(data, array, ending, options, sentence):
    for number in range(3):
        data.array(f"{number}{ending}", np.roll(array, number, axis=0))
    report = inspect_data(data.root)
    assert sentence is None or sentence in said(report)
    chosen = report.commands[0].options
    assert [option for option in chosen if "in_chans" in option] == options
    values = array.reshape(-1, array.shape[-1] if array.ndim == 3 else 1)
    assert report.pixels.mean == pytest.approx(values.mean(axis=0), rel=1e-5)
    assert report.pixels.std == pytest.approx(values.std(axis=0), rel=1e-4)
    assert (report.pixels.lowest, report.pixels.highest) == pytest.approx((values.min(), values.max()))


def test_a_channel_of_one_value_gets_a_deviation(data):
    array = picture(0)
    array[..., 1] = 9
    data.array("0.png", array).array("1.png", array[::-1])
    report = inspect_data(data.root)
    assert "Channel 1 has one value everywhere" in said(report)
    assert any(
        option.startswith("model.data_preprocessor.std=") and ",1," in option for option in report.commands[0].options
    )


@pytest.mark.parametrize("values", [(0, 0), (7, 8), ((7, 8, 9), (9, 9, 8))])
def test_blank_images_are_told_and_nothing_else_is_an_error(data, values):
    for number, value in enumerate(values):
        data.array(f"{number}.png", np.full((8, 8 + number, *np.shape(value)), value, np.uint8))
    report = inspect_data(data.root)
    assert "2 images of one value everywhere, so there is nothing to learn" in said(report, "error")
    assert "Channel" not in said(report)
    data.array("2.png", picture(0))
    report = inspect_data(data.root)
    assert "2 of 3 images are of one value everywhere: leave blank ones out" in said(report, "warning")
    assert not said(report, "error")


def test_copies_of_one_image_are_an_error(data):
    data.array("0.png", picture(0)).array("1.png", picture(0)).array("2.bmp", picture(0))
    error = "All 3 images are copies of one"
    assert error in said(inspect_data(data.root), "error")
    data.array("3.png", picture(1))
    assert error not in said(inspect_data(data.root))


def test_copies_and_leaks(data):
    """By bytes, by pixels alone, within a part, between parts, and under two labels."""
    classes(data, **{"train/a": 4, "train/b": 4, "val/a": 4, "val/b": 4})
    data.array("train/a/same.png", picture(90)).array("val/a/same.png", picture(90))
    data.array("train/a/pixels.png", picture(91)).array("val/a/pixels.bmp", picture(91))
    data.array("train/b/twice.png", picture(92)).array("train/b/again.png", picture(92))
    data.array("train/a/torn.png", picture(93)).array("train/b/torn.bmp", picture(93))
    report = inspect_data(data.root)
    assert (len(report.copies.sets), report.copies.by_bytes, len(report.copies.leaks)) == (4, 2, 2)
    assert "2 pictures are in several parts (train, val)" in said(report, "error")
    assert "1 picture has more than one label" in said(report, "error") and "(a, b)" in said(report, "error")
    assert "2 pictures are there more than once in one part" in said(report, "warning")


def test_bytes_of_all_and_pixels_of_some(data):
    classes(data, a=10, b=10)
    data.array("a/x.png", picture(92)).array("b/y.png", picture(92))
    report = inspect_data(data.root, effort=Effort(max_images=4))
    assert report.copies.hashed == 22 and report.copies.decoded <= 6
    assert len(report.copies.sets) == 1


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({"a": 50, "b": 5}, "`a` has 10 times as many images as `b`"),
        ({"a": 6, "b": 3}, "1 class with fewer than 5 images to train on: b"),
    ],
)
def test_classes(data, counts, sentence):
    report = inspect_data(classes(data, **counts).root)
    assert sentence in said(report, "warning")
    assert [sum(each) for each in zip(*report.classes.counts.values(), strict=True)] == list(counts.values())


def test_classes_of_one_part_alone(data):
    classes(data, **{"train/a": 6, "train/b": 6, "train/c": 6, "val/a": 6, "val/b": 6, "val/d": 6})
    report = inspect_data(data.root)
    assert report.classes.counts == {"train": [6, 6, 6, 0], "val": [6, 6, 0, 6]}
    assert "1 class without an image to train on: d" in said(report, "error")
    assert "1 class of the training part never occurs in val: c" in said(report, "warning")


@pytest.mark.parametrize(
    ("header", "row", "options", "sentence"),
    [
        ("path,label,patient", lambda i: f"{i % 2},p{i // 4}", {"group_column": "patient"}, "has 5 groups in 20 rows"),
        ("path,label,PatientID", lambda i: f"{i % 2},{i // 4}", {"group_column": "PatientID"}, "=PatientID keeps each"),
        ("path,label,subject_id", lambda i: f"{i % 2},{i // 4}", {"group_column": "subject_id"}, "keeps each in one"),
        ("path,label,patient", lambda i: f"{i % 2},{i}", {}, None),  # one image each
        ("path,a,b", lambda i: f"{i % 2},{(1, 0, -1)[i % 3]}", {"uncertain": "ignore"}, "6 uncertain and 0 missing"),
        ("path,a,b", lambda i: f"{i % 2},{(1, 0, '')[i % 3]}", {"missing": "ignore"}, "0 uncertain and 6 missing"),
        ("path,label", lambda i: i * 1.7, {"targets": "label"}, "`label` holds measurements (20 different numbers"),
        ("path,age", lambda i: i * 1.7, {"targets": "age"}, "`age` holds measurements"),
        ("path,age,mass", lambda i: f"{i * 1.7},{i / 3}", {"targets": ["age", "mass"]}, "`age`, `mass` holds"),
        ("path,Class", lambda i: "ab"[i % 2], {}, None),
        ("path,kind", lambda i: "ab"[i % 2], {"label_columns": "kind"}, "`kind` seems to hold the classes"),
        (
            "path,a,b,age",
            lambda i: f"{i % 2},{i // 9 % 2},{i}",
            {"label_columns": ["a", "b"]},
            "`age` for none of them",
        ),
        ("path,label,fold", lambda i: f"{i % 2},{i // 7}", {}, "has 3 folds: dataset.fold says which"),
    ],
)
def test_tables(data, header, row, options, sentence):
    data.table("t.csv", header, *(f"{i}.png,{row(i)}" for i in range(20)))
    report = inspect_data(data.root / "t.csv")
    assert report.table.options == options
    assert sentence is None or sentence in said(report)
    assert report.layout.task == ("regression" if "targets" in options else "classification")
    assert not report.problems


def test_a_group_in_two_parts(data):
    rows = [f"{i}.png,{i % 2},p{i // 4},{'train' if i < 10 else 'val'}" for i in range(20)]
    report = inspect_data(data.table("t.csv", "path,label,patient,split", *rows).root / "t.csv")
    assert "1 group of the column `patient` (p2) with images in several parts" in said(report, "error")


def test_a_table_in_a_folder_is_told(data):
    data.table("t.csv", "path,label", "0.png,a", "1.png,b")
    assert "t.csv names images and more about them: pass it" in said(inspect_data(data.root), "note")


@pytest.mark.parametrize(
    ("values", "names", "severity", "sentence"),
    [
        ([[0, 255]], None, "error", "The masks are 0 and 255 (50.0% of the pixels)"),
        ([[0, 255]], "bg\nobject", "error", "The masks are 0 and 255"),
        ([[0, 100, 200]], None, "error", "which look like grey levels"),
        ([[0, 1, 5]], "a\nb", "error", "classes.txt names 2 classes"),
        ([[0, 1]], None, "note", "The classes have no names"),
        ([[0, 1, 255, 255]], "a\nb", "note", "50.0% of the pixels count nothing"),
        ([[0, 1]], "a\nb\nc", "warning", "1 of 3 classes never occur"),
        ([[255, 255]], "a\nb", "error", "all are ignored"),
    ],
)
def test_masks(data, values, names, severity, sentence):
    data.masks("images", "masks", *values * 3)
    report = inspect_data(data.text("classes.txt", names).root if names else data.root)
    assert sentence in said(report, severity)


@pytest.mark.parametrize(("values", "shifted"), [([1, 2, 3], True), ([0, 1, 2], False), ([0, 1, 2, 3], True)])
def test_masks_that_count_from_one(data, values, shifted):
    data.masks("images", "masks", values, values).text("classes.txt", "a\nb\nc")
    report = inspect_data(data.root)
    assert report.masks.zero_is_ignored is shifted
    assert f"train_dataloader.dataset.zero_is_ignored={shifted}" in report.commands[1].options


def test_masks_that_do_not_fit(data):
    data.masks("images", "masks", [0, 1], [0, 1], [0, 1]).text("classes.txt", "a\nb")
    data.array("masks/0.png", np.zeros((5, 5), np.uint8))
    assert "1 image of 3 tried in all cannot be used" in said(inspect_data(data.root), "error")
    (data.root / "masks" / "1.png").unlink()
    report = inspect_data(data.root)
    assert "1 of 3 names have no PNG of classes" in said(report, "error")
    assert len(report.parts[0].source) == 3  # the images are looked at all the same


def test_lossy_masks(data):
    data.masks("images", "masks", [0, 1], [0, 1], ending=".jpg")
    assert "is a JPEG or lossy WebP" in said(inspect_data(data.root), "error")


def test_photographs_of_8_and_of_16_bits(data):
    """They have one unit in what is measured and in the options."""
    for number in range(4):
        array = picture(number)[..., 0]
        data.array(f"{number}.png", array if number else array.astype(np.uint16) * 257)
    report = inspect_data(data.root)
    assert "1 of 4 photographs have more than 8 bits, the others 8" in said(report, "warning")
    assert "train_dataloader.dataset.eight_bit=True" in report.commands[0].options
    assert report.pixels.mean == pytest.approx([np.mean([picture(i)[..., 0] for i in range(4)])], rel=1e-5)


def test_gaps(data):
    """They do not count in mean and deviation, and the options say how they are read."""
    for number in range(3):
        array = picture(number)[..., 0].astype(np.float32)
        array[:4] = (np.nan, np.inf, -np.inf)[number]
        data.array(f"{number}.npy", array)
    report = inspect_data(data.root)
    assert "3 of 3 images hold NaN or infinity, and are refused without nodata" in said(report, "warning")
    assert "train_dataloader.dataset.nodata=auto" in report.commands[0].options
    assert report.pixels.mean == pytest.approx([np.mean([picture(i)[4:, :, 0] for i in range(3)])], rel=1e-5)


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        ([("images/training", "annotations/training")], "images/training"),
        ([("images", "masks")], "images"),
        ([("JPEGImages", "SegmentationClass")], "JPEGImages"),
        ([("pictures/train", "gtFine/train"), ("pictures/val", "gtFine/val")], "pictures/train"),
        ([("train/images", "train/masks"), ("val/images", "val/masks")], "train/images"),
        ([("train/input", "train/target"), ("val/input", "val/target")], "train/input"),
    ],
)
def test_pretraining_reads_no_masks(data, folders, named):
    """The command that is offered trains on the images alone."""
    for images, masks in folders:
        data.masks(images, masks, *[[0, 1]] * 4)
    report = inspect_data(data.root)
    command = report.commands[0]
    train, val = places(Path(command.data), False)
    assert command.data == str(data.root) and train["root"] == str(data.root / named)
    assert ("val" in val["root"]) is (len(folders) > 1)
    names = [path for path in Path(train["root"]).rglob("*") if path.is_file()]
    assert names and {path.suffix for path in names} == {".jpg"}


def unlabelled_table(data):
    return data.table("t.csv", "path,label,patient", "0.png,a,1", "1.png,b,1", "2.png,,2").root / "t.csv"


def table_of_gone_files(data):
    data.table("t.csv", "path,label", "0.png,a", "1.png,b", "2.png,a")
    (data.root / "2.png").unlink()
    return data.root / "t.csv"


def grey_masks(data):
    return data.masks("images", "masks", *[[0, 255]] * 3).root


@pytest.mark.parametrize(
    ("make", "offered"),
    [(unlabelled_table, ["pretraining"]), (table_of_gone_files, []), (grey_masks, ["pretraining"])],
)
def test_what_would_be_refused_is_not_offered(data, make, offered):
    report = inspect_data(make(data))
    assert [command.task for command in report.commands] == offered
    for command in report.commands:
        load_for(command.config, command.options, command.data, {}, debug=True)
    assert f"Of {report.layout.task} no command is offered" in to_text(report)


def test_a_part_without_images_is_told(data):
    classes(data, **{"train/a": 6, "train/b": 6}).text("val/notes.txt", "x")
    report = inspect_data(data.root)
    assert "val: No image in" in said(report, "error")
    assert [part.name for part in report.parts] == ["train"]


@pytest.mark.parametrize(
    ("entry", "boxes", "severity", "sentence"),
    [
        ({"iscrowd": 1}, [(2, 3, 10, 8)], "error", "none of its 8 annotations is an object"),
        ({}, [(2, 3, 100, 8)], "warning", "reach beyond their image: are they left, top, width and height"),
        ({"segmentation": []}, [(2, 3, 10, 8)], "note", "have boxes, but no outlines"),
    ],
)
def test_objects(data, entry, boxes, severity, sentence):
    data.coco("train", "train/annotations.json", boxes * 2, **entry).coco("val", "val/annotations.json")
    assert sentence in said(inspect_data(data.root), severity)


def test_ids_and_unused_classes(data):
    content = data.coco(boxes=[(2, 3, 10, 8)] * 2).root / "annotations.json"
    text = (
        content.read_text()
        .replace('"category_id": 2', '"category_id": 7')
        .replace('"id": 2, "name"', '"id": 7, "name"')
    )
    content.write_text(text.replace('"name": "dog"}', '"name": "dog"}, {"id": 9, "name": "owl"}'))
    report = inspect_data(data.root)
    assert "No object of train is of `owl`" in said(report, "warning")
    assert "The ids of the categories are 1 to 9; they are numbered anew" in said(report, "note")


def test_turned_by_exif(data):
    data.coco(number=6, boxes=[(2, 3, 10, 8)])
    from PIL import Image

    for path in (data.root / "images").iterdir():
        exif = Image.Exif()
        exif[0x0112] = 3
        Image.fromarray(picture(int(path.stem))).save(path, exif=exif)
    report = inspect_data(data.root)
    assert "6 of 6 files tried carry an EXIF rotation" in said(report, "warning")
    assert all("train_dataloader.dataset.exif=True" in command.options for command in report.commands)


def test_nothing_stands_out(data):
    report = inspect_data(classes(data, **{"train/a": 6, "train/b": 6, "val/a": 6, "val/b": 6}).root)
    assert said(report, "error") + said(report, "warning") == ""
