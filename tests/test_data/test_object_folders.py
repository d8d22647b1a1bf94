"""Objects with a file for each image: YOLO's and Pascal VOC's layouts, values, mistakes."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from maetool.config.layouts.coco import coco_places, test_of_coco
from maetool.config.load import load_for
from maetool.data import CocoDataset
from maetool.errors import UsageError

test_of_coco.__test__ = False
SIZE = (40, 60)
BOX, LINE = [6.0, 4.0, 30.0, 20.0], "1 0.3 0.3 0.4 0.4"  # left, top, right, bottom
POLYGON, CORNERS = [12.0, 8.0, 48.0, 32.0], "0 0.2 0.2 0.8 0.2 0.8 0.8 0.2 0.8"
YAML = "path: /home/else/data\ntrain: {train}\nval: {val}\nnc: 2\nnames: [cat, hot dog]\n"
XML = (
    "<annotation><filename>x</filename><object><name>dog</name><difficult>0</difficult><bndbox><xmin>7</xmin>"
    "<ymin>5</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object><object><name>cat</name><difficult>1</difficult>"
    "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>60</xmax><ymax>40</ymax></bndbox></object></annotation>"
)


def put(path, text=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path, **options)
    else:
        path.write_text(text)


def fill(folder, images, labels, ending=".txt", text=f"{LINE}\n{CORNERS}\n"):
    """Write three images, of which the last has no file, and the files of the others."""
    for number in range(3):
        put(folder / images / f"{number}.png")
        if number < 2:
            put(folder / labels / f"{number}{ending}", text)


def yolo(tmp_path, text=f"{LINE}\n{CORNERS}\n", names="cat\nhot dog\n", **options):
    fill(tmp_path, "images", "labels", text=text)
    put(tmp_path / "classes.txt", names)
    return CocoDataset(tmp_path / "images", tmp_path / "labels", **options)


@pytest.mark.parametrize("form", ["classes.txt", "labels/classes.txt", "obj.names", "data.yaml", "numbered.yml"])
def test_boxes_and_polygons_of_yolo(tmp_path, form):
    texts = {"data.yaml": "names: [cat, hot dog]\n", "numbered.yml": "names:\n  0: cat\n  1: hot dog\n"}
    fill(tmp_path, "images", "labels")
    put(tmp_path / form, texts.get(form, "cat\nhot dog\n"))
    data = CocoDataset(tmp_path / "images", tmp_path / "labels", with_masks=False)
    assert data.classes == ["cat", "hot dog"] and len(data) == 3
    objects = data.load(0)["objects"]
    torch.testing.assert_close(objects.boxes, torch.tensor([BOX, POLYGON]))
    assert objects.labels.tolist() == [1, 0]
    assert len(data.load(2)["objects"].labels) == 0  # no file, so background
    assert data.coco()["images"][1]["id"] == "1.png"


def test_masks_of_polygons(tmp_path):
    data = yolo(tmp_path, f"{CORNERS}\n")
    (mask,) = data.load(0)["objects"].masks
    assert mask[8:32, 12:48].all() and int(mask.sum()) == 24 * 36
    with pytest.raises(UsageError, match=r"no outline that can be drawn.*model.with_masks=False"):
        yolo(tmp_path / "boxes", f"{LINE}\n")


LAYOUTS = {
    "Ultralytics": ("images/{}", "labels/{}", "train", "val", YAML.format(train="images/train", val="images/val")),
    "Roboflow": (
        "{}/images",
        "{}/labels",
        "train",
        "valid",
        YAML.format(train="../train/images", val="../valid/images"),
    ),
    "absolute": ("images/{}", "labels/{}", "a", "b", YAML.format(train="/x/y/images/a", val="/x/y/images/b")),
    "no yaml": ("images/{}", "labels/{}", "Training", "dev", None),
    "years": ("images/{}", "labels/{}", "train2017", "val2017", None),
    "side by side": ("{}", "{}", "train", "validation", None),
    "in a list": ("images/{}", "labels/{}", "a", "b", YAML.format(train="[images/a]", val="images/b")),
}


@pytest.mark.parametrize(("images", "labels", "train", "val", "stated"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts_with_parts(tmp_path, images, labels, train, val, stated):
    for part in (train, val, "test"):
        fill(tmp_path, images.format(part), labels.format(part))
    put(tmp_path / ("data.yaml" if stated else "classes.txt"), stated or "cat\nhot dog\n")
    for place, part in zip(coco_places(tmp_path), (train, val), strict=True):
        assert place["root"] == str(tmp_path / images.format(part)) and "part" not in place
        assert len(CocoDataset(place["root"], place["annotations"], with_masks=False)) == 3


@pytest.mark.parametrize(
    ("images", "labels", "names"),
    [("images", "labels", "classes.txt"), (".", ".", "classes.txt"), ("obj_train_data", "obj_train_data", "obj.names")],
)
def test_layouts_without_parts(tmp_path, images, labels, names):
    fill(tmp_path, images, labels)
    put(tmp_path / names, "cat\nhot dog\n")
    train, val = coco_places(tmp_path)
    assert (train.pop("part"), val.pop("part")) == ("train", "val") and train == val
    assert len(CocoDataset(train["root"], train["annotations"], with_masks=False)) == 3


def test_a_detector_takes_the_classes_of_yolo(repository, tmp_path):
    for part in ("train", "val"):
        fill(tmp_path, f"images/{part}", f"labels/{part}")
    put(tmp_path / "data.yaml", "train: images/train\nval: images/val\nnames: {0: cat, 1: dog, 2: cow}\n")
    options = ["model.with_masks=False"]
    cfg, _ = load_for(repository / "configs/detection/vitdet_mask-rcnn_vit-t_shapes.py", options, str(tmp_path))
    assert cfg.model.num_classes == 3 and cfg.val_dataloader.dataset.annotations == str(tmp_path / "labels/val")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("2 0.5 0.5 0.1 0.1", r"0.txt, line 1 is of the class 2, but there are names for 0 to 1: list its name"),
        ("0 0.5 0.5 0.1", r"line 1 has 4 numbers, but expected a number of a class, then 4 shares"),
        ("0 0.5 0.5 0.1 0.1 0.9", "has 6 numbers"),
        ("0 30 20 10 10", r"has the coordinate 30, but coordinates are shares .* from 0 to 1: divide pixels"),
        ("cat 0.5 0.5 0.1 0.1", r"line 1 is 'cat 0.5 0.5 0.1 0.1', but expected a"),
        ("0 nan 0.5 0.1 0.1", "has the coordinate nan"),
        ("0.5 0.5 0.5 0.1 0.1", "but expected a"),
    ],
)
def test_mistakes_in_lines(tmp_path, line, sentence):
    with pytest.raises(UsageError, match=sentence):
        yolo(tmp_path, f"{line}\n")


def test_what_is_missing_is_named(tmp_path):
    fill(tmp_path, "images", "labels")
    with pytest.raises(UsageError, match=r"have no names of their classes: put a file data.yaml"):
        CocoDataset(tmp_path / "images", tmp_path / "labels")
    put(tmp_path / "classes.txt", "cat\ncat\n")
    with pytest.raises(UsageError, match=r"gives the name `cat` to two classes"):
        CocoDataset(tmp_path / "images", tmp_path / "labels")
    put(tmp_path / "other" / "9.txt", LINE)
    put(tmp_path / "classes.txt", "cat\ndog\n")
    with pytest.raises(UsageError, match=r"None of the 3 images in .* has a file of objects in .*other"):
        CocoDataset(tmp_path / "images", tmp_path / "other")
    with pytest.raises(UsageError, match=r"images holds no annotations: name an annotation file of COCO, or a folder"):
        CocoDataset(tmp_path / "images", tmp_path / "images")
    put(tmp_path / "data.yaml", "train: [one, two]\nnames: [a]\n")
    with pytest.raises(UsageError, match=r"names one, two for a part: name one folder or list of images"):
        coco_places(tmp_path)


def test_keypoints_follow_their_boxes(tmp_path):
    fill(tmp_path, "images", "labels", text=f"{LINE} 0.5 0.5 2 0.1 0.1 1\n")
    put(tmp_path / "data.yaml", "names: [cat, dog]\nkpt_shape: [2, 3]\n")
    data = CocoDataset(tmp_path / "images", tmp_path / "labels", with_masks=False)
    torch.testing.assert_close(data.load(0)["objects"].boxes, torch.tensor([BOX]))


def test_shares_are_of_the_picture_as_exif_turns_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    put(tmp_path / "images" / "a.jpg", exif=exif)  # 40 x 60 as stored, 60 x 40 as seen
    put(tmp_path / "labels" / "a.txt", LINE)
    put(tmp_path / "classes.txt", "cat\ndog\n")
    data = CocoDataset(tmp_path / "images", tmp_path / "labels", with_masks=False, exif=True)
    torch.testing.assert_close(data.load(0)["objects"].boxes, torch.tensor([[4.0, 6.0, 20.0, 30.0]]))
    with pytest.raises(UsageError, match=r"if its EXIF turns it, set dataset.exif=True"):
        CocoDataset(tmp_path / "images", tmp_path / "labels", with_masks=False)


def test_pascal_voc(tmp_path):
    fill(tmp_path, "JPEGImages", "Annotations", ".xml", XML)
    train, _ = coco_places(tmp_path)
    data = CocoDataset(train["root"], train["annotations"], with_masks=False)
    assert data.classes == ["cat", "dog"] and len(data) == 3
    objects = data.load(0)["objects"]
    assert objects.boxes.tolist() == [[6, 4, 30, 20]] and objects.labels.tolist() == [1]
    assert [entry["iscrowd"] for entry in data.coco()["annotations"]] == [0, 1, 0, 1]


@pytest.mark.parametrize("text", ["<annotation>", "<a><object/></a>", "<a><object><name>x</name></object></a>", "x"])
def test_damaged_files_of_pascal_voc(tmp_path, text):
    fill(tmp_path, "JPEGImages", "Annotations", ".xml", text)
    with pytest.raises(UsageError, match=r"0.xml is no file of Pascal VOC"):
        CocoDataset(tmp_path / "JPEGImages", tmp_path / "Annotations")


def test_what_was_read_is_kept_until_a_file_changes(tmp_path):
    yolo(tmp_path, with_masks=False)
    for folder, _, names in os.walk(tmp_path):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            os.utime(path, (1, 1))
    for _ in range(2):
        assert len(CocoDataset(tmp_path / "images", tmp_path / "labels", with_masks=False).load(0)["objects"]) == 2
    put(tmp_path / "labels" / "0.txt", LINE)
    assert len(CocoDataset(tmp_path / "images", tmp_path / "labels", with_masks=False).load(0)["objects"]) == 1


@pytest.mark.parametrize(("train", "val"), [("Training", "Validate"), ("trn", "evaluation"), ("trainset", "valset")])
def test_parts_of_coco_have_all_usual_names(tmp_path, train, val):
    import json

    entry = {"id": 0, "file_name": "0.png", "height": SIZE[0], "width": SIZE[1]}
    found = {"id": 0, "image_id": 0, "category_id": 0, "bbox": [1, 2, 3, 4]}
    content = {"images": [entry], "annotations": [found], "categories": [{"id": 0, "name": "a"}]}
    for part in (train, val, "testing"):
        put(tmp_path / "own" / part / "0.png")
        put(tmp_path / "own" / part / "labels.json", json.dumps(content))
        put(tmp_path / "published" / part / "0.png")
        put(tmp_path / "published" / "annotations" / f"instances_{part}.json", json.dumps(content))
    for layout in ("own", "published"):
        places = coco_places(tmp_path / layout)
        assert [place["root"] for place in places] == [str(tmp_path / layout / part) for part in (train, val)]
        assert not any("part" in place for place in places)


LISTS = {
    "Pascal VOC": ("JPEGImages", "Annotations", "ImageSets/Main/{}.txt", "{}"),
    "with flags": ("JPEGImages", "Annotations", "ImageSets/Main/{}.txt", "{}  1"),
    "for segmentation": ("JPEGImages", "Annotations", "ImageSets/Segmentation/{}.txt", "{}"),
    "YOLO": ("images", "labels", "{}.txt", "./images/{}.png"),
    "CVAT": ("obj_train_data", "obj_train_data", "{}.txt", "data/obj_train_data/{}.png"),
    "another machine": ("images", "labels", "lists/{}.txt", "C:\\\\data\\\\images\\\\{}.png"),
}


@pytest.mark.parametrize(("images", "files", "lists", "line"), LISTS.values(), ids=LISTS.keys())
def test_lists_of_the_images_of_parts(tmp_path, images, files, lists, line):
    voc = files == "Annotations"
    fill(tmp_path, images, files, ".xml" if voc else ".txt", XML if voc else f"{LINE}\n")
    for part, numbers in (("train", [0, 2]), ("val", [1]), ("test", [2])):
        put(tmp_path / lists.format(part), "".join(f"{line.format(number)}\n" for number in numbers))
    stated = "".join(f"{part}: {lists.format(part)}\n" for part in ("train", "val", "test")) * ("lists/" in lists)
    put(tmp_path / ("data.yaml" if stated else "obj.names"), f"{stated}names: [cat, dog]\n" if stated else "cat\ndog\n")
    places = [*coco_places(tmp_path), test_of_coco(tmp_path)]
    for place, numbers in zip(places, ([0, 2], [1], [2]), strict=True):
        assert "part" not in place
        data = CocoDataset(place["root"], place["annotations"], names=place["names"], with_masks=False)
        assert [data.name_of(i) for i in range(len(data))] == [f"{number}.png" for number in numbers]
        assert [len(data.load(i)["objects"]) for i in range(len(data))] == [int(number < 2) for number in numbers]
        assert [entry["file_name"] for entry in data.coco()["images"]] == [f"{number}.png" for number in numbers]


def test_a_list_names_images_that_are_there(tmp_path):
    yolo(tmp_path, with_masks=False)
    put(tmp_path / "some.txt", "0\n7\n")
    with pytest.raises(UsageError, match=r"1 of 2 images that .*some.txt names are not among the 3 in .*first: 7"):
        CocoDataset(tmp_path / "images", tmp_path / "labels", names=tmp_path / "some.txt", with_masks=False)
