"""What `maetool check` takes a data set for."""

import zipfile

import numpy as np
import pytest

from maetool.config.layouts.places import places
from maetool.errors import UsageError
from maetool.inspection.inspect import inspect_data
from maetool.inspection.layout import find_layout

FOUR = [f"{name}.jpg" for name in "abcd"]


def parts_of(report):
    return {part.name: len(part.source) for part in report.parts}


@pytest.mark.parametrize(
    ("folders", "task", "parts"),
    [
        (["."], "pretraining", {"all": 4}),
        (["x"], "pretraining", {"all": 4}),
        (["cat", "dog"], "classification", {"train": 6, "val": 2}),
        (["train/cat", "train/dog", "val/cat", "val/dog"], "classification", {"train": 8, "val": 8}),
        (["Training/cat", "Training/dog", "valid/cat", "valid/dog", "TEST/cat", "TEST/dog"], "classification", None),
        (["cat/train", "cat/test", "dog/train", "dog/test"], "classification", {"train": 6, "val": 2, "test": 8}),
        (["train", "val", "test"], "pretraining", {"train": 4, "val": 4, "test": 4}),
        (["mask", "no_mask"], "classification", {"train": 6, "val": 2}),
    ],
)
def test_folders(data, folders, task, parts):
    data.images(*(f"{folder}/{number}{name}" for number, folder in enumerate(folders) for name in FOUR))
    report = inspect_data(data.root)
    assert report.layout.task == task
    assert parts_of(report) == (parts or {"train": 8, "val": 8, "test": 8})
    assert not report.problems


@pytest.mark.parametrize(
    ("images", "masks", "suffixes"),
    [
        ("images/training/{}.jpg", "annotations/training/{}.png", (".jpg", ".png")),
        ("images/{}.jpg", "masks/{}.png", (".jpg", ".png")),
        ("JPEGImages/{}.jpg", "SegmentationClass/{}.png", (".jpg", ".png")),
        ("img/{}.tif", "mask/{}_mask.tif", (".tif", "_mask.tif")),
        ("Images/{}_img.png", "Labels/{}_label.png", ("_img.png", "_label.png")),
        ("train/images/{}.JPG", "train/labels/{}.PNG", (".jpg", ".png")),
        ("a/train/x/{}_a.png", "gtFine/train/x/{}_gtFine_labelIds.png", ("_a.png", "_gtfine_labelids.png")),
    ],
)
def test_masks_are_found_by_their_names(data, images, masks, suffixes):
    for number in ("00a", "01b", "02c"):
        data.images(images.format(number)).array(masks.format(number), mask())
        if "gtFine" in masks:
            data.array(masks.format(number).replace("labelIds", "color"), mask())
    report = inspect_data(data.root)
    assert report.layout.task == "segmentation"
    assert list(parts_of(report).values()) == [3]
    assert (report.layout.masks.image_suffix, report.layout.masks.annotation_suffix) == suffixes
    assert not report.problems


def mask():
    return np.arange(24, dtype=np.uint8)[:, None].repeat(32, axis=1) // 12


@pytest.mark.parametrize(
    ("train", "val"),
    [
        (("train_images", "train_masks"), ("val_images", "val_masks")),
        (("imagesTr", "labelsTr"), ("imagesVal", "labelsVal")),
        (("TrainImages", "TrainAnnotations"), ("ValImages", "ValAnnotations")),
        (("images/train", "masks/train"), ("images/val", "masks/val")),
        (("train/img", "train/gt"), ("valid/img", "valid/gt")),
        (("Training_Data/x", "Training_Data/GroundTruth"), ("Validation_Data/x", "Validation_Data/GroundTruth")),
    ],
)
def test_parts_of_masks(data, train, val):
    """The names of files are the same in all parts, so that only those of the folders tell."""
    for images, masks in (train, val):
        data.masks(images, masks, [0, 1], [0, 1], [0, 1])
    report = inspect_data(data.root)
    assert report.layout.masks.folders == {"train": train, "val": val}
    assert not report.problems


def test_masks_of_instances_are_no_classes(data):
    data.masks("JPEGImages", "SegmentationClass", [0, 1], [0, 1])
    data.masks("depth", "SegmentationObject", [0, 7], [0, 7])
    assert inspect_data(data.root).layout.masks.folders == {"all": ("JPEGImages", "SegmentationClass")}


@pytest.mark.parametrize(
    ("places", "parts"),
    [
        ([("images", "annotations.json")], {"train": 3, "val": 1}),
        (
            [("train", "train/_annotations.coco.json"), ("valid", "valid/_annotations.coco.json")],
            {"train": 4, "val": 4},
        ),
        (
            [(f"{part}2017", f"annotations/instances_{part}2017.json") for part in ("train", "val", "test")],
            {"train": 4, "val": 4, "test": 4},
        ),
    ],
)
def test_objects(data, places, parts):
    for images, annotations in places:
        data.coco(images, annotations)
    report = inspect_data(data.root)
    assert (report.layout.task, parts_of(report)) == ("detection", parts)
    assert sum(found.objects for found in report.objects.values()) == 4 * len(places)
    assert not report.problems


VOC = """<annotation><size><width>32</width><height>24</height></size><object><name>cat</name>
<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>12</xmax><ymax>12</ymax></bndbox></object></annotation>"""


@pytest.mark.parametrize(
    ("text", "place", "task"),
    [
        ("0 0.5 0.5 0.25 0.5\n", "labels/{}.txt", "detection"),
        ("0 .1 .1 .9 .1 .9 .9\n1 1e-1 0.5 0.2 0.2\n", "labels/{}.txt", "detection"),
        (VOC, "labels/{}.xml", "detection"),
        ("a photo of 2 cats\n", "labels/{}.txt", "pretraining"),
        ("0 12 5\n", "labels/{}.txt", "pretraining"),
    ],
)
def test_files_of_boxes_are_known_by_their_content(data, text, place, task):
    for number in range(4):
        data.images(f"images/{number}.jpg").text(place.format(number), text)
    data.text("data.yaml", "names: [cat, dog]\n")
    report = inspect_data(data.root)
    assert report.layout.task == task
    assert parts_of(report) == ({"train": 3, "val": 1} if task == "detection" else {"all": 4})
    assert not report.problems


def test_boxes_and_masks(data):
    for number in range(4):
        data.images(f"JPEGImages/{number}.jpg").text(f"Annotations/{number}.xml", VOC)
        data.array(f"SegmentationClass/{number}.png", mask())
    report = inspect_data(data.root)
    assert any("`--task segmentation` looks at those" in finding.sentence for finding in report.findings)
    assert report.layout.task == "detection"
    train, _ = places(data.root, False)  # of pretraining, which must read no masks
    assert train["root"] == str(data.root / "JPEGImages")
    assert inspect_data(data.root, "segmentation").layout.task == "segmentation"


def test_a_table_of_parts(data):
    rows = [f"{i}.png,{'ab'[i % 2]},{('train', 'dev', 'holdout')[i % 3]}" for i in range(12)]
    data.table("t.csv", "path,label,split", *rows)
    report = inspect_data(data.root / "t.csv")
    assert parts_of(report) == {"train": 4, "val": 4, "test": 4}
    assert report.classes.names == ["a", "b"]
    assert [column.role for column in report.table.columns] == ["path", "label", "part"]


def test_a_table_of_paths_alone(data):
    report = inspect_data(data.table("t.csv", "path", "0.png", "1.png").root / "t.csv")
    assert (report.layout.task, report.layout.words, parts_of(report)) == (
        "pretraining",
        "a table",
        {"train": 1, "val": 1},
    )
    assert not report.problems


def test_a_list_and_an_archive(data):
    data.images(*FOUR).text("list.txt", "a.jpg\nb.jpg\n")
    assert parts_of(inspect_data(data.root / "list.txt")) == {"all": 2}
    with zipfile.ZipFile(data.root / "x.zip", "w") as archive:
        for number, name in enumerate(FOUR):
            archive.write(data.root / name, f"{'xy'[number % 2]}/{name}")
    report = inspect_data(data.root / "x.zip")
    assert (report.layout.task, sum(parts_of(report).values())) == ("classification", 4)
    assert dict(report.files.used) == {".jpg": 4}


def test_parts_in_an_archive_and_on_another_machine(data):
    pytest.importorskip("fsspec")
    data.images(*(f"set/{part}/{name}/{i}.png" for part in ("Train", "valid", "test") for name in "ab" for i in "012"))
    with zipfile.ZipFile(data.root / "x.zip", "w") as archive:
        for path in (data.root / "set").rglob("*.png"):
            archive.write(path, path.relative_to(data.root / "set"))
    for place in (data.root / "x.zip", f"file://{data.root}/set"):
        report = inspect_data(place)
        assert report.layout.task == "classification"
        assert report.classes.counts == {part: [3, 3] for part in ("train", "val", "test")}
        assert report.files.used == {".png": 18}
        assert f"--data {place}" in report.commands[0].to_text()


def test_other_json_is_no_annotation(data):
    data.images(*FOUR).text("meta.json", '{"images": 4}')
    assert inspect_data(data.root).layout.task == "pretraining"


@pytest.mark.parametrize(
    ("task", "sentence"),
    [("segmentation", "no folder of masks"), ("detection", "annotations"), ("regression", "is no table")],
)
def test_a_task_without_its_truth(data, task, sentence):
    data.images(*FOUR)
    with pytest.raises(UsageError, match=sentence):
        find_layout(data.root, task)


def test_images_that_cannot_be_divided_are_looked_at_as_one(data):
    data.images("x/0.png", "y/0.png", "z/0.png")
    report = inspect_data(data.root)
    assert parts_of(report) == {"all": 3}
    assert "can be held out" in report.problems[0].sentence
    assert not report.copies.sets


def test_nothing_there(data, tmp_path):
    with pytest.raises(UsageError, match="There is no data at"):
        inspect_data(tmp_path / "none")
    data.text("a/only.txt", "text")
    with pytest.raises(UsageError, match="No image in"):
        inspect_data(data.root)
    data.text("broken.jpg", "no image")
    with pytest.raises(UsageError, match=r"No image of .* can be read; the first: .*broken\.jpg"):
        inspect_data(data.root)
