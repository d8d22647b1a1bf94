"""What features are worth, from two sets of them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .metrics import Predictions, summarise
from .on_features import KnnEvaluator, LinearProbeEvaluator

_TOLD = ("top1", "mean_class_accuracy", "mean_average_precision", "mean_auroc")


def evaluate_features(
    bank: Mapping[str, Tensor], query: Mapping[str, Tensor], classes: Sequence[str], name: str, k: int = 20
) -> dict[str, dict[str, float]]:
    """Return the metrics in percent of a kNN classifier and of a linear probe.

    Args:
        bank, query: what `collect_features` returns of the images to learn from and of those that are asked.
        classes: names of the classes of both.
        name: of the features.
        k: neighbours that vote.
    """
    evaluators = {"kNN": KnnEvaluator(k=k), "linear probe": LinearProbeEvaluator()}
    found = {title: each.scores(bank[name], bank["label"], query[name]) for title, each in evaluators.items()}
    return {title: _metrics(scores, query, classes) for title, scores in found.items()}


def evaluate_guess(bank: Mapping[str, Tensor], query: Mapping[str, Tensor], classes: Sequence[str]) -> dict[str, float]:
    """Return the metrics in percent of giving every image the shares of the classes in `bank`."""
    labels = bank["label"]
    shares = labels.mean(dim=0) if labels.ndim == 2 else labels.bincount(minlength=len(classes)) / len(labels)
    return _metrics(shares.expand(len(query["label"]), -1), query, classes)


def _metrics(scores: Tensor, query: Mapping[str, Tensor], classes: Sequence[str]) -> dict[str, float]:
    # The last classes may have no image to learn from.
    filled = torch.cat([scores, scores.new_full((len(scores), len(classes) - scores.shape[1]), scores.min())], dim=1)
    found = summarise(Predictions(filled, query["label"], list(classes), query["index"]))
    return {name: value for name, value in found.items() if name in _TOLD}
