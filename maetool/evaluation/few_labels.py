"""What features are worth with few labels: metrics of several draws of the labelled images, and their spread."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.messages import plural

from .feature_scores import class_metrics
from .knn import knn_scores
from .linear_probe import linear_probe_probabilities
from .regression import errors_of

# The first that was measured decides a comparison. The area under the ROC curve hardly tells rare classes apart.
HEADLINES = ("rare_average_precision", "mean_auroc", "mean_class_accuracy", "r2")
_RARE = 0.1  # share of the images
_CLEAR, _OF_DRAWS = 2.0, 10  # spreads, of so many draws or more; the spread of fewer is less certain
# Of two random predictors one is called clearly better in 8 % of all cases where 50 of 100 images have the class, in
# 14 % where 5 have, but in 34 % where 2 have and in 81 % where one has: draws of so few images hardly differ.
_FEWEST = 5
Arrays = Mapping[str, Tensor]
Predictor = Callable[[Tensor, Tensor, Tensor], Tensor]


class Task(Protocol):
    """What is predicted from features.

    Attributes:
        predictors: functions of (bank (M, D), labels, query (N, D)) that return predictions, by title.
    """

    predictors: Mapping[str, Predictor]

    def metrics(self, predicted: Tensor, query: Arrays) -> dict[str, float]:
        """Return the metrics of predictions.

        Args:
            predicted: (N, K), what a predictor returned.
            query: `label` and `index` of the N images.
        """
        ...

    def telling(self, query: Arrays) -> int:
        """Return how many images make the difference in the metric that decides.

        Args:
            query: `label` of the N images.
        """
        ...

    def guess(self, bank: Arrays) -> Tensor:
        """Return the best prediction (K,) that is the same for all images.

        Args:
            bank: `label` of the images to fit on.
        """
        ...


class ClassTask:
    """Classes: kNN and logistic regression; metrics in percent.

    Args:
        classes: names of the K classes.
        k: number of neighbours.
        rare: positions of the classes whose mean average precision is measured, too, as `rare_average_precision`.
    """

    def __init__(self, classes: Sequence[str], k: int = 20, rare: Sequence[int] = ()) -> None:
        self.classes, self.rare = list(classes), list(rare)
        self.predictors: Mapping[str, Predictor] = {
            "kNN": lambda bank, labels, query: knn_scores(bank, labels, query, k),
            "linear probe": linear_probe_probabilities,
        }

    def metrics(self, predicted: Tensor, query: Arrays) -> dict[str, float]:
        """Return the metrics of probabilities.

        Args:
            predicted: (N, K).
            query: `label` and `index` of the N images.
        """
        return class_metrics(predicted, query, self.classes, self.rare)

    def telling(self, query: Arrays) -> int:
        """Return how many images are of the rare classes, or without these, are not of the commonest one.

        Args:
            query: `label` of the N images; of several labels each class counts the rarer of having it or not.
        """
        labels = query["label"]
        if labels.ndim == 1:
            counts = labels[labels >= 0].bincount(minlength=len(self.classes))
            others = int(counts.sum() - counts.max())
        else:
            counts = (labels == 1).sum(dim=0)
            others = int(torch.minimum(counts, (labels == 0).sum(dim=0)).sum())
        return int(counts[self.rare].sum()) or others

    def guess(self, bank: Arrays) -> Tensor:
        """Return the shares of the classes (K,).

        Args:
            bank: `label` of the images to fit on.
        """
        labels = bank["label"]
        if labels.ndim == 2:
            return labels.nanmean(dim=0)
        return labels.bincount(minlength=len(self.classes)) / len(labels)


def rare_classes(labels: Tensor) -> list[int]:
    """Return the positions of the classes that less than a tenth of the images have, and a quarter of an even share.

    Args:
        labels: int64 (N,), or float (N, K) of zeros and ones, or NaN, of which each class is on its own.
    """
    if labels.ndim == 2:
        return (labels.nanmean(dim=0) < _RARE).nonzero().flatten().tolist()
    shares = labels.bincount() / max(1, len(labels))
    return (shares < min(_RARE, 0.25 / max(1, len(shares)))).nonzero().flatten().tolist()


class NumberTask:
    """Numbers: the mean of the nearest neighbours, and ridge regression with the penalty that leave-one-out chooses.

    The metrics are `r2`, `mae` and `rmse`, means over the numbers of an image.

    Args:
        k: number of neighbours.
    """

    def __init__(self, k: int = 20) -> None:
        self.predictors: Mapping[str, Predictor] = {
            "kNN": lambda bank, labels, query: knn_scores(bank, labels.float(), query, k),
            "linear probe": _ridge,
        }

    def metrics(self, predicted: Tensor, query: Arrays) -> dict[str, float]:
        """Return the errors of predictions.

        Args:
            predicted: (N, K).
            query: `label` and `index` of the N images.
        """
        true, told = query["label"].double().numpy(), predicted.double().numpy()
        each = [errors_of(true[:, i], told[:, i]) for i in range(true.shape[1])]
        return {name: float(np.mean([errors[name] for errors in each])) for name in ("r2", "mae", "rmse")}

    def telling(self, query: Arrays) -> int:
        """Return the number of images.

        Args:
            query: `label` of the N images.
        """
        return len(query["label"])

    def guess(self, bank: Arrays) -> Tensor:
        """Return the means (K,).

        Args:
            bank: `label` of the images to fit on.
        """
        return bank["label"].nanmean(dim=0)


@dataclass(frozen=True)
class Judgement:
    """The metrics of one way to predict.

    Attributes:
        values: means over the draws, of all images to predict.
        draws: of each draw, of as many of these images, drawn with replacement.
        telling: how many of these images make the difference, see `Task`.
    """

    values: dict[str, float]
    draws: list[dict[str, float]]
    telling: int

    def spread(self, name: str) -> float:
        """Return the standard deviation of the metric `name` over the draws, an estimate of its standard error."""
        return _deviation([draw.get(name, np.nan) for draw in self.draws])


def judge(
    task: Task, bank: Arrays, query: Arrays, name: str, labels: int | None = None, draws: int = 10
) -> dict[str, Judgement]:
    """Fit each predictor of a task on draws of the labelled images, and return what it is worth, by its title.

    The draws depend on nothing but their number, so that features are compared on the same images.

    Args:
        task: what is predicted.
        bank, query: results of `collect_features` on the images to fit on and those to predict.
        name: of the features.
        labels: how many images to fit on in each draw; None for all.
        draws: number of draws, at least 2; of all labels there is one fit, and the images to predict are drawn.
    """
    judged: dict[str, Judgement] = {}
    for title, predictor in task.predictors.items():
        values, drawn, predicted = [], [], torch.zeros(0)
        for number in range(draws):
            generator = torch.Generator().manual_seed(number)
            if labels is not None or not number:
                chosen = draw_labels(bank["label"], labels, generator)
                predicted = predictor(bank[name][chosen], bank["label"][chosen], query[name])
                values.append(task.metrics(predicted, query))
            again = torch.randint(len(predicted), (len(predicted),), generator=torch.Generator().manual_seed(number))
            asked = {key: query[key][again] for key in ("label", "index")}
            drawn.append(task.metrics(predicted[again], asked))
        means = {key: float(np.mean([each.get(key, np.nan) for each in values])) for key in values[0]}
        judged[title] = Judgement(means, drawn, task.telling(query))
    return judged


def draw_labels(labels: Tensor, number: int | None, generator: torch.Generator) -> Tensor:
    """Return the indices of images to fit on: one of each class, and the others at random.

    Args:
        labels: int64 (M,), or float (M, K) for several labels or numbers, of which any are drawn.
        number: how many, at most M; None for all.
        generator: of the random numbers.

    Raises:
        UsageError: fewer than there are classes, or fewer than 2.
    """
    if number is None:
        return torch.arange(len(labels))
    order = torch.randperm(len(labels), generator=generator)
    first = [int((labels[order] == label).nonzero()[0]) for label in labels.unique()] if labels.ndim == 1 else []
    if number < max(2, len(first)):
        raise UsageError(f"--labels got {number}, but must be at least {max(2, len(first))}, one for each class.")
    if number > len(labels):
        raise UsageError(f"--labels got {number}, but there are {len(labels)} images to fit on: use fewer, or `all`.")
    rest = torch.ones(len(order), dtype=torch.bool)
    rest[first] = False
    return torch.cat([order[first], order[rest]])[:number]


def verdict(own: Judgement, other: Judgement, called: str) -> str:
    """Return a sentence that says whether one way to predict is better than another, beyond the spread.

    Args:
        own: what is judged.
        other: what it is compared with, on the same draws.
        called: name of the other.
    """
    name = next((name for name in HEADLINES if np.isfinite(own.values.get(name, np.nan))), None)
    if name is None:
        return f"nothing to compare with {called}, because all images to predict are alike"
    if own.telling < _FEWEST:
        of = {"rare_average_precision": "of a rare class", "r2": "to predict"}.get(name, "not of the commonest class")
        return f"too few to compare with {called} ({plural(own.telling, 'image')} {of}, {_FEWEST} are needed)"
    gain = own.values[name] - other.values[name]
    pairs = zip(own.draws, other.draws, strict=True)
    spread = _deviation([a.get(name, np.nan) - b.get(name, np.nan) for a, b in pairs])
    size, noise = (f"{value:.2f}" if name == "r2" else f"{value:.1f}" for value in (abs(gain), spread))
    points = "" if name == "r2" else " points"
    if abs(gain) > _spreads_needed(min(len(own.draws), len(other.draws))) * spread:
        return f"{'better' if gain > 0 else 'worse'} than {called} by {size}{points}, spread {noise}"
    return f"not clearly better than {called} ({'+' if gain >= 0 else '-'}{size}{points}, spread {noise})"


def _spreads_needed(draws: int) -> float:
    """Return how many spreads a difference must be to be clear: of fewer draws more, as Student's t has it."""
    from scipy.special import stdtrit  # not above, because it takes long

    known = max(1, min(draws, _OF_DRAWS) - 1)
    return _CLEAR * float(stdtrit(known, 0.975) / stdtrit(_OF_DRAWS - 1, 0.975))


def _deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of the values that are defined; nan of fewer than two."""
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else float("nan")


def _ridge(bank: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    """Return the predictions (N, K) of ridge regression on standardised features."""
    from sklearn.linear_model import RidgeCV

    mean, std = bank.double().mean(dim=0), bank.double().std(dim=0)
    std = std.clamp(min=0.01 * std.mean().item() + 1e-9)  # a feature that hardly varies here may vary in the query
    known_images, asked = ((each.double() - mean) / std for each in (bank, query))
    columns = []
    for column in labels.double().numpy().T:
        known = ~np.isnan(column)
        ridge = RidgeCV(np.logspace(-2, 5, 15)).fit(known_images.numpy()[known], column[known])
        columns.append(ridge.predict(asked.numpy()))
    return torch.from_numpy(np.stack(columns, axis=1))
