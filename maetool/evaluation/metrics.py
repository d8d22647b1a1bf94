"""Metrics of a classifier, by scikit-learn."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from maetool.heads.labels import known_binary_cross_entropy

_BINS = 15  # as Guo et al., "On calibration of modern neural networks" (2017)


@cache
def _sklearn(module: str = "metrics") -> Any:
    # Importing it takes longer than importing OpenCV, and most programs measure no classifier.
    return import_module(f"sklearn.{module}")


@dataclass(frozen=True)
class Predictions:
    """A classifier's predictions for N images.

    Attributes:
        logits: float (N, K).
        labels: int64 (N,), or float32 (N, K) of zeros and ones if an image may have several; NaN where one is unknown.
        classes: names of the K classes.
        index: int64 (N,), positions in the dataset.
    """

    logits: Tensor
    labels: Tensor
    classes: list[str]
    index: Tensor

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several labels."""
        return self.labels.ndim == 2

    @property
    def scores(self) -> np.ndarray:
        """Probabilities, float64 (N, K): softmax, or with several labels a sigmoid for each class."""
        logits = self.logits.double()
        return (logits.sigmoid() if self.multi_label else logits.softmax(dim=1)).numpy()


@dataclass(frozen=True)
class Reliability:
    """Confidence and accuracy in bins of equal width, without empty bins.

    Attributes:
        confidence, accuracy: means in each bin, 0 to 1.
        count: number of images in each bin, or with several labels of pairs of image and class.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error, 0 to 1: the mean gap, weighted by `count` (Guo et al., 2017)."""
        return float(np.average(np.abs(self.accuracy - self.confidence), weights=self.count))


def summarise(predictions: Predictions) -> dict[str, float]:
    """Return the metrics of the `predictions` of a validation, in percent except for `loss`.

    One label: `top1`, `top5` with more than five classes, and `mean_class_accuracy`, the mean of the recalls, which is
    also called balanced accuracy. Several: `mean_average_precision`. Both: `mean_auroc`, of each class against the
    others, which like the average precision is a mean over the classes that some but not all images have;
    `macro_f1`, the mean of F1 over the classes that occur, with several labels at a probability of 0.5;
    `calibration_error` and `loss`, the cross-entropy, of several labels binary. Unknown labels count nothing.
    """
    logits = predictions.logits.double()
    if predictions.multi_label:
        loss = known_binary_cross_entropy(logits, predictions.labels.double())
    else:
        loss = functional.cross_entropy(logits, predictions.labels)
    return {"loss": loss.item(), **percentages(predictions)}


def percentages(predictions: Predictions) -> dict[str, float]:
    """Return what `summarise` returns except for the loss, which follows from the probabilities alone.

    Args:
        predictions: of a validation.
    """
    scores, percent = predictions.scores, {}
    if predictions.multi_label:
        percent["mean_average_precision"] = _mean(average_precisions(predictions))
    else:
        labels, names = predictions.labels.numpy(), np.arange(len(predictions.classes))
        percent["top1"] = _sklearn().accuracy_score(labels, scores.argmax(axis=1))
        if len(names) > 5:
            percent["top5"] = _sklearn().top_k_accuracy_score(labels, scores, k=5, labels=names)
        percent["mean_class_accuracy"] = _mean(class_accuracies(predictions))
    area = _mean(areas_under_roc(predictions))
    if predictions.multi_label or not np.isnan(area):  # images of one class alone have none
        percent["mean_auroc"] = area
    percent["macro_f1"] = _mean(f1_scores(predictions))
    percent["calibration_error"] = reliability(predictions).error
    return {name: float(value) * 100 for name, value in percent.items()}


def class_accuracies(predictions: Predictions) -> np.ndarray:
    """Return the recall of each class (K,) in `predictions`, 0 to 1; nan for a class without images."""
    return _for_each_decision(predictions, _sklearn().recall_score)


def f1_scores(predictions: Predictions) -> np.ndarray:
    """Return F1 of each class (K,) in `predictions`, 0 to 1; nan for a class without images."""
    return _for_each_decision(predictions, _sklearn().f1_score)


def areas_under_roc(predictions: Predictions) -> np.ndarray:
    """Return the area under the ROC curve of each class (K,), 0 to 1; nan if all images or none have the class.

    Args:
        predictions: of a validation.
    """
    return _for_each_class(predictions, _sklearn().roc_auc_score)


def average_precisions(predictions: Predictions) -> np.ndarray:
    """Return the average precision of each class (K,), 0 to 1; nan if all images or none have the class.

    Args:
        predictions: of a validation.
    """
    return _for_each_class(predictions, _sklearn().average_precision_score)


def confusion(predictions: Predictions) -> np.ndarray:
    """Return the confusion matrix of `predictions`, true classes in rows, int (K, K); for one label per image."""
    names = np.arange(len(predictions.classes))
    return _sklearn().confusion_matrix(predictions.labels.numpy(), predictions.scores.argmax(axis=1), labels=names)


def reliability(predictions: Predictions) -> Reliability:
    """Return how reliable the probabilities are: that of the predicted class, or with several labels every one.

    Args:
        predictions: of a validation.
    """
    scores = predictions.scores.clip(0, 1)
    if predictions.multi_label:
        known = ~np.isnan(predictions.labels.numpy())
        confidence, right = scores[known], predictions.labels.numpy()[known]
    else:
        confidence, right = scores.max(axis=1), scores.argmax(axis=1) == predictions.labels.numpy()
    accuracy, mean = _sklearn("calibration").calibration_curve(right.astype(int), confidence, n_bins=_BINS)
    count = np.bincount(np.searchsorted(np.linspace(0, 1, _BINS + 1)[1:-1], confidence))  # the bins of scikit-learn
    return Reliability(mean, accuracy, count[count > 0])


def _for_each_class(predictions: Predictions, metric: Callable[..., float]) -> np.ndarray:
    scores, values = predictions.scores, np.full(len(predictions.classes), np.nan)
    for column in range(len(predictions.classes)):
        has, known = _truth(predictions, column)
        if has.any() and not has.all():
            values[column] = metric(has, scores[known, column])
    return values


def _for_each_decision(predictions: Predictions, metric: Callable[..., float]) -> np.ndarray:
    """Return a metric of the decision for each class: the most probable one, or all above a probability of 0.5."""
    scores, values = predictions.scores, np.full(len(predictions.classes), np.nan)
    best = scores.argmax(axis=1)
    for column in range(len(predictions.classes)):
        has, known = _truth(predictions, column)
        decided = scores[known, column] > 0.5 if predictions.multi_label else best == column
        if has.any():
            values[column] = metric(has, decided, zero_division=0.0)
    return values


def _truth(predictions: Predictions, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which images of those with a known label have a class, bool (M,), and which these are, bool (N,)."""
    if not predictions.multi_label:
        has = (predictions.labels == column).numpy()
        return has, np.ones_like(has)
    labels = predictions.labels[:, column].numpy()
    known = ~np.isnan(labels)
    return labels[known] > 0, known


def _mean(values: np.ndarray) -> float:
    """Return the mean of the values that are defined; nan without a warning if none is."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")
