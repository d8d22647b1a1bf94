"""COCO files as label tools write them: ids, flags, outlines, names of files and folders of every usual kind."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from maetool.config.layouts.coco import coco_places
from maetool.data import CocoDataset
from maetool.data.datasets.objects import cache as coco_cache
from maetool.data.datasets.objects.cache import cached_coco
from maetool.data.datasets.objects.coco_file import read_coco
from maetool.errors import UsageError
from maetool.evaluation.coco import CocoScores, to_coco

SIZE = (40, 60)
BOXES = [(10, 10, 20, 10), (0, 0, 5, 5), (30, 20, 30, 20)]


def outline(left, top, width, height):
    return [[left, top, left + width, top, left + width, top + height, left, top + height]]


def content(image_id=str, category_id=int, annotation_id=int):
    """Three images with one, two and three objects of two classes; the ids pass through a function each."""
    images, annotations = [], []
    for number in range(3):
        images.append({"id": image_id(number), "file_name": f"{number}.png", "height": SIZE[0], "width": SIZE[1]})
        for place, box in enumerate(BOXES[: number + 1]):
            entry = {"id": annotation_id(len(annotations)), "image_id": image_id(number), "bbox": list(box)}
            annotations.append({**entry, "category_id": category_id(place % 2), "segmentation": outline(*box)})
    categories = [{"id": category_id(label), "name": name} for label, name in enumerate("ab")]
    return {"images": images, "annotations": annotations, "categories": categories}


def write(folder, made, name="annotations.json"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(made))


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        save(tmp_path / "images" / f"{number}.png")
    return tmp_path


def load(folder, made=None, **options):
    if made is not None:
        write(folder, made)
    return CocoDataset(folder / "images", folder / "annotations.json", **options)


KINDS_OF_IDS = {
    "from zero": int,
    "words": "image {}".format,
    "digits": str,
    "negative": lambda number: -number,
    "large": lambda number: 2**53 + number,
    "whole floats": float,
    "in turn": lambda number: number if number % 2 else f"n{number}",
}


@pytest.mark.parametrize("ids", KINDS_OF_IDS.values(), ids=KINDS_OF_IDS.keys())
@pytest.mark.parametrize("kind", ["box", "mask"])
def test_the_truth_scores_100_whatever_the_ids(folder, ids, kind):
    dataset = load(folder, content(ids, ids, ids))
    entries = []
    for index in range(3):
        objects = dataset.load(index)["objects"]
        scored = {**vars(objects), "scores": torch.ones(len(objects))}
        entries += to_coco(scored, dataset.image_id(index), dataset.category_ids())
    assert {entry["image_id"] for entry in entries} == {ids(number) for number in range(3)}
    seen = [dataset.image_id(index) for index in range(3)]
    scores = CocoScores(dataset.coco(), entries, kind, seen)
    assert scores.metrics[f"{kind}_ap"] == pytest.approx(100)
    assert scores.classes == {"a": pytest.approx(100), "b": pytest.approx(100)}


def test_one_id_may_be_a_number_here_and_a_word_there(folder):
    made = content(int)
    for annotation in made["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])
        del annotation["id"]
    assert [len(load(folder, made).load(index)["objects"]) for index in range(3)] == [1, 2, 3]
    made["images"][1]["id"] = "0"
    with pytest.raises(UsageError, match="the image id 0 is given twice"):
        load(folder, made)


@pytest.mark.parametrize(
    ("flag", "crowd"), [(0, 0), (1, 1), ("0", 0), ("1", 1), (False, 0), (True, 1), ("false", 0), (None, 0)]
)
def test_crowds_by_any_word(folder, flag, crowd):
    made = content()
    made["annotations"][0]["iscrowd"] = flag
    dataset = load(folder, made)
    assert [len(dataset.load(index)["objects"]) for index in range(3)] == [1 - crowd, 2, 3]
    assert dataset.coco()["annotations"][0]["iscrowd"] == crowd


@pytest.mark.parametrize(
    ("change", "reason"), [({"iscrowd": 1}, "6 are of crowds"), ({"bbox": [70, 10, 5, 5]}, "6 have a box of no area")]
)
def test_nothing_to_learn_from_is_refused(folder, change, reason):
    made = content()
    for annotation in made["annotations"]:
        annotation.update(change)
    with pytest.raises(
        UsageError, match=f"none of its 6 annotations is an object that can be learned from: .*{reason}"
    ):
        load(folder, made)


BAD = {
    "two corners": [[1, 1, 5, 5]],
    "none": [],
    "no polygon": [[]],
    "a line": [[1, 1, 9, 9, 20, 20]],
    "a point": [[5, 5, 5, 5, 5, 5]],
    "outside": [[-30, -30, -20, -30, -20, -20]],
    "empty runs": {"size": list(SIZE), "counts": [2400]},
    "another size": {"size": [60, 40], "counts": [2400]},
    "a word": "polygon",
    "missing": ...,
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_outline_costs_its_object_alone(folder, bad):
    made = content()
    made["annotations"][2]["segmentation"] = bad
    if bad is ...:
        del made["annotations"][2]["segmentation"]
    dataset = load(folder, made)
    assert [len(dataset.load(index)["objects"]) for index in range(3)] == [1, 1, 3]
    assert "without an outline that can be drawn, 1 in the file (first: annotation 2), are passed" in dataset.describe()
    assert all(mask.any() for index in range(3) for mask in dataset.load(index)["objects"].masks)
    assert len(load(folder, with_masks=False).load(1)["objects"]) == 2
    truth = [entry for entry in dataset.coco()["annotations"] if entry["id"] == 2]
    assert [(entry["iscrowd"], entry["segmentation"]) for entry in truth] == [(1, outline(*BOXES[1]))]


NAMES = {
    "folder": "images/{}",
    "backslash": "images\\{}",
    "another machine": "/home/somebody/data/images/{}",
    "windows": "C:\\data\\images\\{}",
    "Label Studio": "/data/local-files/?d=export/images/{}",
    "address": "https://example.org/files/images/{}",
    "up": "../images/{}",
}


@pytest.mark.parametrize("form", NAMES.values(), ids=NAMES.keys())
def test_names_of_another_machine(folder, form):
    made = content()
    for image in made["images"]:
        image["file_name"] = form.format(image["file_name"])
    dataset = load(folder, made)
    assert [dataset.name_of(index).rsplit("/")[-1] for index in range(3)] == ["0.png", "1.png", "2.png"]
    moved = form.format("0.png") != "../images/0.png"  # which is there
    assert ("3 names of files are not as in the file; " + form.format("0.png") in dataset.describe()) == moved


def test_names_at_any_depth_and_in_any_case(folder):
    (folder / "images" / "0.png").rename(folder / "images" / "0.PNG")
    save(folder / "images" / "deep" / "er" / "with space.png")
    made = content()
    made["images"][1]["file_name"] = "with%20space.png"
    assert [load(folder, made).name_of(index) for index in range(3)] == ["0.PNG", "deep/er/with space.png", "2.png"]
    save(folder / "images" / "other" / "with space.png")
    with pytest.raises(UsageError, match=r"1 of 3 images .*\(first: with%20space.png; in the folder: 0.PNG, 1.png, 2"):
        load(folder, made)


def test_two_entries_of_one_file_are_refused(folder):
    made = content()
    made["images"][0]["file_name"], made["images"][1]["file_name"] = "train/2.png", "val/2.png"
    with pytest.raises(UsageError, match=r"lists train/2\.png and val/2\.png, but of both only 2\.png is in the"):
        load(folder, made)


def test_a_category_of_nothing_and_boxes_of_right_and_bottom_are_told(folder):
    made = content()
    made["categories"].append({"id": 7, "name": "workers"})
    assert "No object in the file is of `workers`." in load(folder, made).describe()
    assert "reach beyond" not in load(folder, made).describe()
    for annotation in made["annotations"]:
        left, top, width, height = annotation["bbox"]
        annotation["bbox"] = [left, top, left + width, top + height]
    assert "1 of 6 boxes reach beyond their image: are they left, top, width" in load(folder, made).describe()


def test_objects_beyond_what_a_model_finds_are_told_and_counted(folder):
    dataset = load(folder, content(), with_masks=False)
    model = type("Model", (), {"max_detections": 2})
    assert "An image has 3 objects, but the model finds 2 at most" in dataset.warning_of(model)
    model.max_detections = 3
    assert dataset.warning_of(model) == "" == dataset.warning_of(object())
    made = content()
    made["annotations"] = [
        {**made["annotations"][0], "id": number, "bbox": [number % 15 * 4, number // 15 * 3, 3, 2]}
        for number in range(150)
    ]
    dataset = load(folder, made, with_masks=False)
    objects = dataset.load(0)["objects"]
    entries = to_coco({**vars(objects), "scores": torch.ones(150)}, "0", [0, 1])
    assert CocoScores(dataset.coco(), entries, "box").metrics["box_recall"] == pytest.approx(100 * 100 / 150)
    assert CocoScores(dataset.coco(), entries, "box", most=150).metrics["box_recall"] == pytest.approx(100)


def test_workers_share_what_is_read(folder):
    """Python objects would be copied to each worker by being counted; arrays are not."""
    source = read_coco(load(folder, content()).source.path)
    arrays = [source.sizes, source.starts, source.boxes, source.areas, source.labels, source.outlines.blob]
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in arrays)
    lists = [name for name, value in vars(source).items() if isinstance(value, list | dict)]
    assert lists == ["classes", "category_ids"]


LAYOUTS = {
    "published": ("annotations/instances_{}2017.json", "{}2017/{}", "train", "val"),
    "published 2014": ("annotations/instances_{}2014.json", "{}2014/{}", "train", "val"),
    "images of parts": ("annotations/{}.json", "images/{}/{}", "train", "val"),
    "parts": ("{}/annotations.json", "{}/images/{}", "train", "val"),
    "Roboflow": ("{}/_annotations.coco.json", "{}/{}", "train", "valid"),
    "capitals": ("{}/labels.json", "{}/{}", "Train", "Validation"),
}


@pytest.mark.parametrize(("annotations", "images", "train", "val"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts_with_parts(tmp_path, annotations, images, train, val):
    for part in (train, val):
        path = tmp_path / annotations.format(part)
        write(path.parent, content(), path.name)
        for number in range(3):
            save(tmp_path / images.format(part, f"{number}.png"))
    for place, part in zip(coco_places(tmp_path), (train, val), strict=True):
        assert place["annotations"] == str(tmp_path / annotations.format(part)) and "part" not in place
        dataset = CocoDataset(place["root"], place["annotations"])
        assert len(dataset) == 3 and dataset.files.path(0) == str(tmp_path / images.format(part, "0.png"))


@pytest.mark.parametrize("name", ["annotations.json", "result.json", "annotations/instances_default.json", "x.JSON"])
@pytest.mark.parametrize("images", ["images/{}", "{}", "images/default/{}"])
def test_layouts_of_one_file(tmp_path, name, images):
    path = tmp_path / name
    write(path.parent, content(), path.name)
    for number in range(3):
        save(tmp_path / images.format(f"{number}.png"))
    train, val = coco_places(tmp_path)
    assert (train.pop("part"), val.pop("part")) == ("train", "val") and train == val
    assert len(CocoDataset(train["root"], train["annotations"])) == 3


def test_a_test_part_is_left_alone_and_several_files_are_asked_about(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / part, content(), "labels.json")
    train, val = coco_places(tmp_path)
    assert train["root"] == val["root"] == str(tmp_path / "train") and val["part"] == "val"
    write(tmp_path / "two", content(), "a.json")
    write(tmp_path / "two", content(), "b.json")
    with pytest.raises(UsageError, match=r"2 files that may hold the annotations, a\.json, b\.json: call the one"):
        coco_places(tmp_path / "two")


@pytest.mark.parametrize("ids", [int, str])
def test_what_was_read_is_kept_until_the_file_changes(folder, monkeypatch, ids):
    path, cache = folder / "annotations.json", folder / "cache"
    write(folder, content(ids, ids, ids))
    os.utime(path, (1, 1))
    first = cached_coco(path, cache)
    with monkeypatch.context() as patch:
        patch.setattr(coco_cache, "read_coco", None)
        second = cached_coco(path, cache)
    images = range(3)
    assert second.entries(images, True) == first.entries(images, True) == read_coco(path).entries(images, True)
    assert second.describe(images, True) == first.describe(images, True)
    made = content(ids, ids, ids)
    made["categories"][0]["name"] = "c"
    write(folder, made)
    assert cached_coco(path, cache).classes == ["c", "b"]


def test_a_damaged_cache_is_written_anew(folder):
    path, cache = folder / "annotations.json", folder / "cache"
    write(folder, content())
    os.utime(path, (1, 1))
    expected = cached_coco(path, cache).entries(range(3), True)
    (file,) = cache.iterdir()
    for place in range(0, file.stat().st_size, 97):
        good = bytearray(file.read_bytes())
        good[place] ^= 16
        file.write_bytes(good)
        assert cached_coco(path, cache).entries(range(3), True) == expected
