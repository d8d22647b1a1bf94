"""Boxes and flags of annotation files that are read otherwise than they were meant, and are told."""

import pytest
from people_data import Data

from maetool.data import CocoDataset

BOXES = [(2, 3, 10, 8), (12, 4, 9, 15)]


def describe(root, boxes=BOXES, stated=None, **entry):
    """Return what is said of a file with outlines around some boxes, and with other boxes beside them."""
    outlines = [[x, y, x + w, y, x + w, y + h, x, y + h] for x, y, w, h in boxes]
    made = Data(root / "set").coco(boxes=stated or boxes, segmentation=None, **entry)
    edit(made.root / "annotations.json", lambda a: a.update(segmentation=[outlines[a["id"] % len(boxes)]]))
    return CocoDataset(made.root / "images", made.root / "annotations.json", with_masks=False)


def edit(path, change):
    import json

    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        change(annotation)
    path.write_text(json.dumps(content))


def as_corners(x, y, w, h):
    return x, y, x + w, y + h


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (as_corners, "8 of 8 boxes that were looked at lie beside their outlines, such as"),
        (lambda x, y, w, h: (y, x, h, w), "4 of 8 boxes that were looked at lie beside their outlines"),
        (lambda x, y, w, h: (x / 2, y / 2, w / 2, h / 2), "lie beside their outlines"),
        (lambda x, y, w, h: (x + w / 2, y + h / 2, w, h), "lie beside their outlines"),
        (lambda x, y, w, h: (x / 32, y / 24, w / 32, h / 24), "All boxes lie between 0 and 1: are they fractions"),
        (lambda x, y, w, h: (x + 1, y, w, h), None),
        (lambda x, y, w, h: (x, y, w, h), None),
    ],
)
def test_boxes_that_are_no_boxes_of_their_outlines(tmp_path, change, text):
    said = describe(tmp_path, stated=[change(*box) for box in BOXES]).describe()
    assert text in said if text else "are they" not in said


@pytest.mark.parametrize(
    ("key", "value", "crowd"),
    [
        ("iscrowd", "True", True), ("iscrowd", 1.0, True), ("iscrowd", "no", False), ("is_crowd", 1, True),
        ("isCrowd", True, True), ("ignore", 1, True), ("ignore", 0, False), ("ignore", None, False),
    ],
)  # fmt: skip
def test_flags_of_crowds(tmp_path, key, value, crowd):
    data = describe(tmp_path)
    path = tmp_path / "set" / "annotations.json"
    edit(path, lambda a: a.update({key: value}) if a["id"] == 1 else None)
    data = CocoDataset(tmp_path / "set" / "images", path, with_masks=False)
    assert data.source.crowd.sum() == crowd


def test_an_area_of_0_is_that_of_the_box_and_files_listed_twice_are_told(tmp_path):
    describe(tmp_path)
    path = tmp_path / "set" / "annotations.json"
    edit(path, lambda a: a.update(area=0))
    path.write_text(path.read_text().replace('"1.png"', '"0.png"'))
    data = CocoDataset(tmp_path / "set" / "images", path, with_masks=False)
    assert sorted({*data.source.areas.tolist()}) == [80, 135]
    assert "1 files are listed as more than one image (first: 0.png)" in data.describe()
