"""Metrics of features: kNN and linear probe between two sets of images."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .metrics import Predictions, average_precisions, percentages

_REPORTED = (
    *("top1", "mean_class_accuracy", "mean_auroc", "mean_average_precision", "rare_average_precision", "macro_f1"),
)


class _Probable(Predictions):
    """Predictions whose `logits` are probabilities, as shares of votes are: of their logits rounding breaks ties."""

    @property
    def scores(self) -> np.ndarray:
        """Probabilities, float64 (N, K)."""
        return self.logits.double().numpy()


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
    from .few_labels import ClassTask  # which needs `class_metrics`

    task = ClassTask(classes, k)
    told = {title: each(bank[name], bank["label"], query[name]) for title, each in task.predictors.items()}
    return {title: class_metrics(values, query, classes) for title, values in told.items()}


def evaluate_guess(bank: Mapping[str, Tensor], query: Mapping[str, Tensor], classes: Sequence[str]) -> dict[str, float]:
    """Return the metrics in percent of predicting the class frequencies of the bank for every image.

    Args:
        bank: results of `collect_features`, of which only `label` is read.
        query: the same of the images that are evaluated.
        classes: names of the K classes.
    """
    from .few_labels import ClassTask

    return class_metrics(ClassTask(classes).guess(bank).expand(len(query["label"]), -1), query, classes)


def class_metrics(
    probabilities: Tensor, query: Mapping[str, Tensor], classes: Sequence[str], rare: Sequence[int] = ()
) -> dict[str, float]:
    """Return the metrics in percent of probabilities.

    Args:
        probabilities: (N, K), 0 to 1, or with fewer columns where the last classes have no image in the bank, so that
            none is predicted to have them.
        query: `label` and `index` of the images.
        classes: names of the K classes.
        rare: positions of those whose mean average precision is `rare_average_precision`.
    """
    never = probabilities.new_zeros(len(probabilities), len(classes) - probabilities.shape[1])
    filled = torch.cat([probabilities, never], dim=1)
    predictions = _Probable(filled, query["label"], list(classes), query["index"])
    metrics = percentages(predictions)
    if "mean_auroc" in metrics:  # of one class alone there is no precision either
        precisions = average_precisions(predictions)
        metrics["mean_average_precision"] = _mean_of_known(precisions)
        if rare:
            metrics["rare_average_precision"] = _mean_of_known(precisions[list(rare)])
    return {name: metrics[name] for name in _REPORTED if name in metrics}


def _mean_of_known(shares: np.ndarray) -> float:
    known = shares[~np.isnan(shares)]
    return float(known.mean()) * 100 if len(known) else float("nan")
