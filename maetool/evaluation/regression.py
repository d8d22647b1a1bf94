"""Evaluation of predicted numbers."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from maetool.errors import UsageError
from maetool.messages import print_log
from maetool.protocols import ModelLike
from maetool.registry import METRICS

from .base import BaseEvaluator, EvaluationData
from .names import MetricName


@METRICS.register_module()
class RegressionEvaluator(BaseEvaluator):
    """Errors of a model that predicts numbers, in the units of the data; each image counts once.

    `mae` is the mean absolute error, `rmse` the root of the mean squared one, `r2` the coefficient of determination
    (0 for the mean of the validation data, 1 for perfect predictions), each by scikit-learn and a mean over the K
    numbers of an image. Unknown numbers (NaN) count nothing.

    Args:
        dataloader, every, prefix: see `BaseEvaluator`; the images have numbers to predict.

    Raises:
        UsageError: data without numbers to predict.
    """

    metric_names = {
        "mae": MetricName("mean absolute error", better="less"),
        "rmse": MetricName("root mean squared error", better="less", role="detail"),
        "r2": MetricName("R2", better="greater"),
    }
    files = ("predictions.csv", "scatter.png")

    def __init__(self, dataloader: Any = None, every: int = 1, prefix: str | None = None) -> None:
        super().__init__(dataloader, every, prefix)

    def check_dataset(self, dataset: Any) -> None:
        """Check that the images of a dataset have numbers to predict.

        Raises:
            UsageError: they have none.
        """
        if not getattr(dataset, "targets", None):
            raise UsageError(
                "The validation data has no numbers to predict: set dataset.targets to columns of a table."
            )

    def measure(self, model: ModelLike, data: EvaluationData) -> dict[str, float]:
        """Return the metrics."""
        self.check_dataset(data.dataset)
        features = data.features({"predicted": _predicted})
        self.names = aligned_names(list(data.dataset.targets), list(data.trained_classes))
        order = [data.dataset.targets.index(name) for name in self.names]
        self.predicted, self.true = features["predicted"].double().numpy(), features["label"][:, order].double().numpy()
        self.images = [data.dataset.name_of(i) for i in features["index"].tolist()]
        errors = self._errors()
        return {name: _mean([each[name] for each in errors]) for name in self.metric_names}

    def report(self, folder: Path) -> dict[str, Any]:
        """Write a table of the predictions and a scatter picture, and return the errors of each number by its name."""
        from maetool.visualization.regression import draw_scatter
        from maetool.writing import write_csv

        header = ["path", *self.names, *(f"predicted {name}" for name in self.names)]
        rows = (
            [n, *map(_cell, t), *map(_cell, p)] for n, t, p in zip(self.images, self.true, self.predicted, strict=True)
        )
        write_csv(folder / "predictions.csv", [header, *rows])
        draw_scatter(self.true, self.predicted, self.names, folder / "scatter.png")
        each = [{k: None if np.isnan(v) else v for k, v in errors.items()} for errors in self._errors()]
        return {"targets": dict(zip(self.names, each, strict=True))}

    def _errors(self) -> list[dict[str, float]]:
        return [errors_of(self.true[:, i], self.predicted[:, i]) for i in range(len(self.names))]


def aligned_names(own: list[str], trained: list[str]) -> list[str]:
    """Return the names of the data's numbers in the order of the model's predictions, which is warned of if unknown.

    Args:
        own: the names in the data.
        trained: those that the model was trained to predict, in its order; empty if unknown.
    """
    if sorted(own) == sorted(trained):
        return trained
    if trained:
        print_log(
            f"The model was trained to predict {', '.join(trained)}, and the data has {', '.join(own)}: they are "
            "compared in this order.",
            level=logging.WARNING,
        )
    return own


def errors_of(true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return `mae` and `rmse`, in the units of the numbers, and `r2`, at most 1; NaN where undefined.

    Args:
        true: numbers (N,); images whose number is NaN do not count.
        predicted: numbers (N,).
    """
    from sklearn import metrics

    known = ~np.isnan(true)
    true, predicted = true[known], predicted[known]
    if not len(true):
        return dict.fromkeys(("mae", "rmse", "r2"), float("nan"))
    return {
        "mae": float(metrics.mean_absolute_error(true, predicted)),
        "rmse": float(metrics.root_mean_squared_error(true, predicted)),
        "r2": float(metrics.r2_score(true, predicted)) if len(np.unique(true)) > 1 else float("nan"),
    }


def _predicted(model: ModelLike, images: Tensor) -> Tensor:
    return model(images, mode="predict")


def _mean(values: Sequence[float]) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"
