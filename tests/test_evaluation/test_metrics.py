"""Metrics against numbers worked out by hand, and what is written about a classifier."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from maetool.evaluation.metrics import (
    Predictions,
    areas_under_roc,
    average_precisions,
    class_accuracies,
    confusion,
    reliability,
    summarise,
)
from maetool.evaluation.report import write_report

CLASSES = ["ant", "bee", "cat"]


def one_label():
    """Five images; the second is wrong with a probability of 0.8, the others right with 0.9 or 0.6."""
    scores = [[0.9, 0.06, 0.04], [0.15, 0.8, 0.05], [0.2, 0.6, 0.2], [0.3, 0.6, 0.1], [0.9, 0.04, 0.06]]
    return Predictions(torch.tensor(scores).log(), torch.tensor([0, 0, 1, 1, 0]), CLASSES, torch.arange(5))


def several_labels():
    scores = torch.tensor([[0.9, 0.2], [0.8, 0.7], [0.3, 0.6], [0.1, 0.1]])
    labels = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 0]])
    return Predictions(scores.logit(), labels, ["sick", "old"], torch.arange(4))


def test_one_label():
    found = summarise(one_label())
    assert found["top1"] == pytest.approx(80)
    assert "top5" not in found
    assert found["mean_class_accuracy"] == pytest.approx((2 / 3 + 1) / 2 * 100)  # no image of the third class
    assert found["loss"] == pytest.approx(-np.mean(np.log([0.9, 0.15, 0.6, 0.6, 0.9])), abs=1e-6)
    assert class_accuracies(one_label())[:2].tolist() == pytest.approx([2 / 3, 1])
    assert math.isnan(class_accuracies(one_label())[2])
    assert confusion(one_label()).tolist() == [[2, 1, 0], [0, 2, 0], [0, 0, 0]]


def test_f1_and_auroc_of_one_label():
    """Of ants two of three are told and nothing else; of bees two of two and one ant."""
    found = summarise(one_label())
    assert found["macro_f1"] == pytest.approx((4 / 5 + 4 / 5) / 2 * 100)
    expected = [roc_auc_score([1, 1, 0, 0, 1], [0.9, 0.15, 0.2, 0.3, 0.9])]
    assert areas_under_roc(one_label())[0] == pytest.approx(expected[0])


def test_unknown_labels_count_nothing_in_any_metric():
    scores = torch.tensor([[0.9, 0.2], [0.8, 0.7], [0.3, 0.6], [0.1, 0.1]])
    labels = torch.tensor([[1.0, math.nan], [0, 1], [1, 0], [math.nan, 0]])
    found = summarise(Predictions(scores.logit(), labels, ["sick", "old"], torch.arange(4)))
    assert found["mean_auroc"] == pytest.approx((0.5 + 1) / 2 * 100)
    assert found["macro_f1"] == pytest.approx((0.5 + 2 / 3) / 2 * 100)
    known = [(1, 0.9), (0, 0.8), (1, 0.7), (1, 0.3), (0, 0.6), (0, 0.1)]
    assert found["loss"] == pytest.approx(-np.mean([math.log(p if y else 1 - p) for y, p in known]), abs=1e-6)
    assert reliability(Predictions(scores.logit(), labels, ["sick", "old"], torch.arange(4))).count.sum() == 6


def test_unknown_labels_are_empty_in_the_table(tmp_path):
    labels = torch.tensor([[1.0, math.nan], [0, 1]])
    write_report(Predictions(torch.zeros(2, 2), labels, ["sick", "old"], torch.arange(2)), ["v", "w"], tmp_path)
    rows = list(csv.reader((tmp_path / "predictions.csv").open()))
    assert [row[:3] for row in rows[1:]] == [["v", "1", ""], ["w", "0", "1"]]


def test_calibration():
    """Bins of 1/15: 0.6 twice and right twice, 0.8 once and wrong, 0.9 twice and right twice."""
    found = reliability(one_label())
    assert found.count.tolist() == [2, 1, 2]
    assert found.accuracy.tolist() == [1, 0, 1]
    assert found.confidence.tolist() == pytest.approx([0.6, 0.8, 0.9])
    assert found.error == pytest.approx((2 * 0.4 + 0.8 + 2 * 0.1) / 5)
    assert summarise(one_label())["calibration_error"] == pytest.approx(found.error * 100)


def test_average_precision():
    """The ranking for the first class is 1 0 1 0: precision 1 at the first hit and 2/3 at the second."""
    assert average_precisions(several_labels()).tolist() == pytest.approx([(1 + 2 / 3) / 2, 1])
    found = summarise(several_labels())
    assert found["mean_average_precision"] == pytest.approx((5 / 6 + 1) / 2 * 100)
    assert found["mean_auroc"] == pytest.approx((3 / 4 + 1) / 2 * 100)
    right = np.log([0.9, 0.8, 1 - 0.8, 0.7, 0.3, 1 - 0.6, 0.9, 0.9])
    assert found["loss"] == pytest.approx(-right.mean(), abs=1e-6)
    assert average_precisions(one_label())[0] == pytest.approx((1 + 1 + 3 / 5) / 3)
    assert math.isnan(average_precisions(one_label())[2])


def test_top5():
    logits = torch.eye(8)[torch.arange(8)] + torch.arange(8) / 10
    found = summarise(Predictions(logits, torch.tensor([0, 0, 0, 0, 4, 3, 2, 1]), list("abcdefgh"), torch.arange(8)))
    assert found["top1"] == pytest.approx(100 * 2 / 8)
    assert found["top5"] == pytest.approx(100 * 3 / 8)


def table(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_report_of_one_label(tmp_path):
    found = write_report(one_label(), [f"{i}.jpg" for i in range(5)], tmp_path)
    json.dumps(found, allow_nan=False)
    assert found["classes"]["ant"]["accuracy"] == pytest.approx(200 / 3)
    assert found["classes"]["ant"]["images"] == 3
    assert found["classes"]["cat"].pop("images") == 0
    assert set(found["classes"]["cat"].values()) == {None}
    assert table(tmp_path / "predictions.csv")[:3] == [
        ["path", "label", "predicted", "probability"],
        ["0.jpg", "ant", "ant", "0.900000"],
        ["1.jpg", "ant", "bee", "0.800000"],
    ]
    assert table(tmp_path / "confusion_matrix.csv")[1] == ["ant", "2", "1", "0"]
    for name in ("confusion_matrix.png", "reliability.png"):
        picture = np.asarray(Image.open(tmp_path / name).convert("L"))
        assert min(picture.shape) > 300 and len(np.unique(picture)) > 20


def test_report_of_several_labels(tmp_path):
    found = write_report(several_labels(), list("wxyz"), tmp_path)
    sick = {"images": 2, "average_precision": 500 / 6, "auroc": 75, "recall": 50, "f1": 50}
    assert found["classes"]["sick"] == pytest.approx(sick)
    assert table(tmp_path / "predictions.csv")[:2] == [
        ["path", "sick", "old", "probability of sick", "probability of old"],
        ["w", "1", "0", "0.900000", "0.200000"],
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["predictions.csv", "reliability.png"]
