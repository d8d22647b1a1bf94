"""Measures of a segmentation, by hand and beside torchmetrics."""

import math

import pytest
import torch

from maetool.evaluation.confusion import SegmentationScores, no_scores, pixel_confusion


def test_a_confusion_by_hand():
    truth = torch.tensor([[0, 0, 0, 1], [1, 1, 2, 255]])
    predicted = torch.tensor([[0, 0, 1, 1], [1, 2, 2, 2]])
    confusion = pixel_confusion(predicted, truth, 4)
    assert confusion.tolist() == [[2, 1, 0, 0], [0, 2, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    scores = SegmentationScores(confusion)
    assert scores.class_iou[:3].tolist() == pytest.approx([2 / 3, 2 / 4, 1 / 2])  # intersection / union
    assert math.isnan(scores.class_iou[3])  # in neither
    assert scores.class_accuracy[:3].tolist() == pytest.approx([2 / 3, 2 / 3, 1])
    assert scores.metrics["mean_iou"] == pytest.approx(100 * (2 / 3 + 1 / 2 + 1 / 2) / 3)
    assert scores.metrics["pixel_accuracy"] == pytest.approx(100 * 5 / 7)
    assert scores.metrics["mean_pixel_accuracy"] == pytest.approx(100 * (2 / 3 + 2 / 3 + 1) / 3)


def test_a_class_that_is_only_predicted_counts_zero():
    scores = SegmentationScores(pixel_confusion(torch.tensor([0, 1]), torch.tensor([0, 0]), 2))
    assert scores.class_iou.tolist() == [0.5, 0.0]
    assert scores.metrics["mean_iou"] == 25


def test_batches_add_up():
    generator = torch.Generator().manual_seed(0)
    truth, predicted = (torch.randint(0, 5, (4, 6, 7), generator=generator) for _ in range(2))
    scores = no_scores(5)
    for one, other in zip(predicted, truth, strict=True):
        scores = scores.added(pixel_confusion(one, other, 5))
    assert torch.equal(scores.confusion, pixel_confusion(predicted, truth, 5))


def test_the_same_as_torchmetrics():
    classification = pytest.importorskip("torchmetrics.functional.classification")
    generator = torch.Generator().manual_seed(0)
    truth, predicted = (torch.randint(0, 6, (3, 40, 50), generator=generator) for _ in range(2))
    predicted = torch.where(torch.rand(truth.shape, generator=generator) < 0.6, truth, predicted)
    truth[:, :5] = 255
    scores = SegmentationScores(pixel_confusion(predicted, truth, 6))
    options = {"num_classes": 6, "ignore_index": 255}
    confusion = classification.multiclass_confusion_matrix(predicted, truth, **options)
    assert torch.equal(scores.confusion, confusion)
    iou = classification.multiclass_jaccard_index(predicted, truth, average="none", **options)
    assert scores.class_iou.tolist() == pytest.approx(iou.tolist())
    mean = classification.multiclass_jaccard_index(predicted, truth, average="macro", **options)
    assert scores.metrics["mean_iou"] == pytest.approx(mean.item() * 100)
    accuracy = classification.multiclass_accuracy(predicted, truth, average="micro", **options)
    assert scores.metrics["pixel_accuracy"] == pytest.approx(accuracy.item() * 100)
