"""Average precision against values worked out by hand, and what becomes of odd results."""

import math

import pytest
import torch

from maetool.data import ObjectShapesDataset
from maetool.evaluation.coco import CocoScores, to_coco


def truth_of(*boxes, images=1):
    """Objects of 40 x 40 pixels, left and top given, each of (image, category)."""
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": [left, top, 40, 40],
            "area": 1600,
            "iscrowd": 0,
        }
        for number, (image, category, left, top) in enumerate(boxes, start=1)
    ]
    return {
        "images": [{"id": number, "width": 200, "height": 200} for number in range(1, images + 1)],
        "categories": [{"id": 1, "name": "cup"}, {"id": 4, "name": "fork"}],
        "annotations": annotations,
    }


def found(image, category, left, top, score=0.5, side=40):
    return {"image_id": image, "category_id": category, "bbox": [left, top, side, side], "score": score}


@pytest.fixture(scope="module")
def shapes():
    return ObjectShapesDataset(20, 48, seed=1)


def detections_of(dataset, shift=0):
    entries = []
    for index in range(len(dataset)):
        objects = dataset.load(index)["objects"]
        said = {**vars(objects), "scores": torch.ones(len(objects)), "masks": objects.masks.roll(shift, dims=2)}
        entries += to_coco(said, dataset.image_id(index), dataset.category_ids())
    return entries


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_the_truth_as_prediction_scores_100(shapes, kind):
    scores = CocoScores(shapes.coco(), detections_of(shapes), kind)
    assert scores.metrics[f"{kind}_ap"] == pytest.approx(100)
    assert list(scores.classes) == shapes.classes
    assert all(math.isnan(value) or value == pytest.approx(100) for value in scores.classes.values())
    assert f"{kind}_ap_large" not in scores.metrics  # there is none in pictures of 48 pixels


def test_shifted_boxes_score_what_their_overlap_passes():
    """Shifted by 10 of 40 pixels, 30 x 40 of 50 x 40 are common: 0.6 passes 3 of the thresholds 0.5, 0.55, ... 0.95."""
    metrics = CocoScores(truth_of((1, 1, 10, 10)), [found(1, 1, 20, 10)]).metrics
    assert metrics["box_ap"] == pytest.approx(30)
    assert metrics["box_ap50"] == pytest.approx(100)
    assert metrics["box_ap75"] == 0


def test_a_false_alarm_above_halves_the_precision():
    """Ranked below one false alarm, a hit has the precision 1/2 at every recall; ranked above it, 1."""
    truth, hit = truth_of((1, 1, 10, 10)), found(1, 1, 10, 10)
    for score, expected in ((0.9, 50), (0.1, 100)):
        assert CocoScores(truth, [hit, found(1, 1, 100, 100, score)]).metrics["box_ap"] == pytest.approx(expected)


def test_one_object_of_two_found():
    """Precision 1 up to a recall of 1/2: 51 of the 101 places where it is read."""
    truth = truth_of((1, 1, 10, 10), (1, 1, 100, 100))
    assert CocoScores(truth, [found(1, 1, 10, 10)]).metrics["box_ap"] == pytest.approx(100 * 51 / 101)


def test_classes_are_scored_apart_and_averaged():
    truth = truth_of((1, 1, 10, 10), (1, 4, 100, 100))
    scores = CocoScores(truth, [found(1, 1, 10, 10), found(1, 1, 100, 100, 0.1)])
    assert scores.classes == {"cup": pytest.approx(100), "fork": 0}
    assert scores.metrics["box_ap"] == pytest.approx(50)
    assert math.isnan(CocoScores(truth_of((1, 1, 10, 10)), []).classes["fork"])


def test_nothing_found_scores_zero():
    assert CocoScores(truth_of((1, 1, 10, 10)), []).metrics["box_ap"] == 0


def test_images_that_do_not_count_are_left_out():
    truth = truth_of((1, 1, 10, 10), (2, 1, 10, 10), images=2)
    assert CocoScores(truth, [found(1, 1, 10, 10)]).metrics["box_ap"] == pytest.approx(100 * 51 / 101)
    assert CocoScores(truth, [found(1, 1, 10, 10)], image_ids=[1]).metrics["box_ap"] == pytest.approx(100)


def test_what_is_found_in_a_crowd_is_forgiven():
    truth = truth_of((1, 1, 10, 10), (1, 1, 100, 100))
    truth["annotations"][1]["iscrowd"] = 1
    hits = [found(1, 1, 10, 10), found(1, 1, 105, 105, 0.9, side=20)]
    assert CocoScores(truth, hits).metrics["box_ap"] == pytest.approx(100)


def test_masks_and_boxes_are_judged_apart(shapes):
    shifted = detections_of(shapes, shift=3)  # the masks; the boxes stay
    assert CocoScores(shapes.coco(), shifted, "box").metrics["box_ap"] == pytest.approx(100)
    assert CocoScores(shapes.coco(), shifted, "mask").metrics["mask_ap"] < 60


def test_the_truth_is_left_as_it_was(shapes):
    truth = shapes.coco()
    before = [dict(entry) for entry in truth["annotations"]]
    CocoScores(truth, detections_of(shapes), "mask")
    assert truth["annotations"] == before


def test_labels_without_a_category_are_left_out():
    said = {"boxes": torch.tensor([[1.0, 2, 5, 8]] * 2), "labels": torch.tensor([0, 1]), "scores": torch.ones(2)}
    (entry,) = to_coco(said, 3, [None, 9])
    assert entry == {"image_id": 3, "category_id": 9, "score": 1.0, "bbox": [1, 2, 4, 6]}
