"""Metrics of features: kNN and linear probe between two sets of images."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .metrics import Predictions, average_precisions, summarise
from .on_features import KnnEvaluator, LinearProbeEvaluator

_REPORTED = (
    *("top1", "mean_class_accuracy", "mean_auroc", "mean_average_precision", "rare_average_precision", "macro_f1"),
)


def evaluate_features(
    bank: Mapping[str, Tensor], query: Mapping[str, Tensor], classes: Sequence[str], name: str, k: int = 20
) -> dict[str, dict[str, float]]:
    """Return the metrics in percent of a kNN classifier and of a linear probe.

    Args:
        bank, query: results of `collect_features` on the images to fit on and on those to predict.
        classes: class names of both.
        name: name of the features.
        k: number of neighbours.
    """
    evaluators = {"kNN": KnnEvaluator(k=k), "linear probe": LinearProbeEvaluator()}
    scores = {title: each.scores(bank[name], bank["label"], query[name]) for title, each in evaluators.items()}
    return {title: class_metrics(values, query, classes) for title, values in scores.items()}


def evaluate_guess(bank: Mapping[str, Tensor], query: Mapping[str, Tensor], classes: Sequence[str]) -> dict[str, float]:
    """Return the metrics in percent of predicting the class frequencies of the bank for every image.

    Args:
        bank: results of `collect_features`, of which only `label` is read.
        query: the same of the images that are evaluated.
        classes: names of the K classes.
    """
    labels = bank["label"]
    shares = labels.nanmean(dim=0) if labels.ndim == 2 else labels.bincount(minlength=len(classes)) / len(labels)
    return class_metrics(shares.expand(len(query["label"]), -1), query, classes)


def class_metrics(
    scores: Tensor, query: Mapping[str, Tensor], classes: Sequence[str], rare: Sequence[int] = ()
) -> dict[str, float]:
    """Return the metrics in percent of scores.

    Args:
        scores: (N, K), or with fewer columns where the last classes have no image in the bank.
        query: `label` and `index` of the images.
        classes: names of the K classes.
        rare: positions of those whose mean average precision is `rare_average_precision`.
    """
    filled = torch.cat(
        [scores, scores.new_full((len(scores), len(classes) - scores.shape[1]), scores.min().item())], dim=1
    )
    predictions = Predictions(filled, query["label"], list(classes), query["index"])
    metrics = summarise(predictions)
    if "mean_auroc" in metrics:  # of one class alone there is no precision either
        precisions = average_precisions(predictions)
        metrics["mean_average_precision"] = _mean_of_known(precisions)
        if rare:
            metrics["rare_average_precision"] = _mean_of_known(precisions[list(rare)])
    return {name: metrics[name] for name in _REPORTED if name in metrics}


def _mean_of_known(shares: np.ndarray) -> float:
    known = shares[~np.isnan(shares)]
    return float(known.mean()) * 100 if len(known) else float("nan")
