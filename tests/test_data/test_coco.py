"""COCO files: written and read back, all forms of masks, and each thing that can be wrong with them."""

import json

import numpy as np
import pytest
import torch
from faster_coco_eval import mask as runs
from PIL import Image

from maetool.data import CocoDataset, ObjectShapesDataset
from maetool.data.datasets.objects.coco_file import read_coco, write_coco
from maetool.data.datasets.objects.masks import decode_mask, encode_mask
from maetool.errors import UsageError


@pytest.fixture
def folder(tmp_path):
    """Three images of 40 x 60 pixels: two objects and a crowd, one object of no area, and nothing."""
    for name in "abc":
        Image.fromarray(np.full((40, 60, 3), ord(name), np.uint8)).save(tmp_path / f"{name}.png")
    write(tmp_path, content())
    return tmp_path


def content():
    outline = [[10, 10, 30, 10, 30, 20, 10, 20]]
    first = {"id": 1, "image_id": 5, "category_id": 7, "bbox": [10, 10, 20, 10], "segmentation": outline, "area": 200}
    second = {
        "id": 2,
        "image_id": 5,
        "category_id": 3,
        "bbox": [0, 0, 5, 5],
        "segmentation": [[0, 0, 5, 0, 5, 5, 0, 5]],
    }
    crowd = {**first, "id": 3, "iscrowd": 1, "segmentation": {"size": [40, 60], "counts": [0, 2400]}}
    flat = {**first, "id": 4, "image_id": 6, "bbox": [10, 10, 20, 0]}
    names = {5: "a.png", 6: "b.png", 9: "c.png"}
    return {
        "images": [{"id": each, "file_name": name, "height": 40, "width": 60} for each, name in names.items()],
        "annotations": [first, second, crowd, flat],
        "categories": [{"id": 7, "name": "boat"}, {"id": 3, "name": "bird"}],
    }


def write(folder, said):
    (folder / "annotations.json").write_text(json.dumps(said))


def load(folder, **options):
    return CocoDataset(folder, folder / "annotations.json", **options)


@pytest.mark.parametrize("in_chans", [1, 3])
def test_written_shapes_are_read_back_unchanged(tmp_path, in_chans):
    shapes = ObjectShapesDataset(5, (32, 48), in_chans=in_chans, seed=2)
    images, annotations = write_coco(shapes, tmp_path)
    dataset = CocoDataset(images, annotations, in_chans=in_chans)
    assert dataset.classes == shapes.classes
    for index in range(5):
        ours, theirs = shapes.load(index), dataset.load(index)
        assert torch.equal(ours["inputs"], theirs["inputs"])
        for name in ("boxes", "labels", "masks"):
            assert torch.equal(getattr(ours["objects"], name), getattr(theirs["objects"], name))
    with pytest.raises(UsageError, match=r"annotations\.json exists already"):
        write_coco(shapes, tmp_path)


def test_labels_follow_the_ids_and_only_real_objects_are_trained_on(folder):
    dataset = load(folder)
    assert dataset.classes == ["bird", "boat"] and dataset.category_ids() == [3, 7]
    objects = dataset.load(0)["objects"]
    assert objects.labels.tolist() == [1, 0]
    assert objects.boxes.tolist() == [[10, 10, 30, 20], [0, 0, 5, 5]]
    assert objects.masks[0].nonzero().tolist()[0] == [10, 10] and objects.masks[0].sum() == 200
    assert [len(dataset.load(index)["objects"]) for index in range(3)] == [2, 0, 0]
    said = dataset.describe()
    assert "3 images with 2 objects of 2 classes; 2 images without objects stay, as background." in said
    assert "Crowds, 1 in the file, are not trained on" in said
    assert "Boxes of no area inside of their image, 1 in the file (first: annotation 4), are passed over" in said
    assert load(folder, limit=1).describe().startswith("1 images with 2 objects of 2 classes; 0 images without")


def test_masks_in_all_forms():
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[5:10, 7:20] = True
    compressed = encode_mask(mask)
    json.dumps(compressed)
    flat = mask.T.flatten().int()  # run lengths go down the columns
    changes = (flat.diff() != 0).nonzero().flatten() + 1
    counts = torch.cat([changes, torch.tensor([len(flat)])]).diff(prepend=torch.tensor([0])).tolist()
    polygon = [[7, 5, 20, 5, 20, 10, 7, 10]]
    for form in (compressed, {"size": [20, 30], "counts": counts}, polygon):
        assert torch.equal(decode_mask(form, (20, 30)), mask)
    assert runs.area(compressed) == mask.sum()
    for wrong in ([[1, 2, 3, 4]], [], {"size": [30, 20], "counts": counts}, "mask"):
        with pytest.raises(ValueError, match="its segmentation"):
            decode_mask(wrong, (20, 30))


def test_parts_and_limit_name_the_same_images_in_the_truth(folder):
    parts = [load(folder, part=part) for part in ("train", "val")]
    ids = [{part.image_id(index) for index in range(len(part))} for part in parts]
    assert ids[0] | ids[1] == {5, 6, 9} and not ids[0] & ids[1]
    for part, own in zip(parts, ids, strict=True):
        assert {entry["id"] for entry in part.coco()["images"]} == own
        assert {entry["image_id"] for entry in part.coco()["annotations"]} <= own
    assert len(load(folder, limit=2).coco()["images"]) == 2


def change(said, section, place, **values):
    said[section][place].update(values)
    return said


WRONG = {
    "there, which is not listed": ("annotations", {"image_id": 77}, "annotation 1 is of the image 77, which is not"),
    "class outside": ("annotations", {"category_id": 99}, "is of the category 99, but the categories are 3, 7:"),
    "box of three": ("annotations", {"bbox": [1, 2, 3]}, r"has the bbox \[1, 2, 3\], but it must be left, top, width"),
    "box of words": ("annotations", {"bbox": [1, 2, "a", 4]}, "but it must be left, top, width and height"),
    "an id twice": ("images", {"id": 6}, "the image id 6 is given twice"),
    "image not there": (
        "images",
        {"file_name": "z.png"},
        r"1 of 3 images .* are not in .* \(first: z.png; in the folder: a.png, annotations.json, b.png, ...\)",
    ),
}


@pytest.mark.parametrize(("section", "values", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_does_not_fit_is_named(folder, section, values, message):
    write(folder, change(content(), section, 0, **values))
    with pytest.raises(UsageError, match=message):
        load(folder)


def test_files_that_are_none_are_named(folder):
    for text, message in {
        "{": "is no JSON file",
        "[]": "has no list `images`",
        '{"images": [{"id": 1}]}': "entry 0 of `images` has no `file_name`",
        '{"images": [], "annotations": [], "categories": []}': "lists 0 images and 0 categories",
    }.items():
        (folder / "annotations.json").write_text(text)
        with pytest.raises(UsageError, match=message):
            read_coco(folder / "annotations.json")
    with pytest.raises(UsageError, match="cannot be read"):
        read_coco(folder / "nowhere.json")
    write(folder, content())
    with pytest.raises(UsageError, match="There is no folder"):
        CocoDataset(folder / "nowhere", folder / "annotations.json")


def test_objects_without_outlines_are_for_boxes_alone(folder):
    said = content()
    del said["annotations"][0]["segmentation"]
    write(folder, said)
    with pytest.raises(
        UsageError,
        match=r"1 of 2 objects .* \(first: annotation 1: it has no segmentation\): use a model of boxes alone",
    ):
        load(folder)
    assert load(folder, with_masks=False).load(0)["objects"].masks is None


def test_an_image_of_another_size_is_broken_and_told(folder):
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(folder / "a.png")
    with pytest.raises(UsageError, match=r"a\.png: it has 40 x 50 pixels, but its annotations are for 40 x 60"):
        load(folder, max_broken=0.0)
    dataset = load(folder, max_broken=0.5)
    sample = dataset[0]
    assert "it has 40 x 50 pixels" in sample["skipped"]
    assert sample["inputs"][0, 0, 0] == ord("b")  # the next one
