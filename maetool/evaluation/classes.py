"""Evaluation of a classifier."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor

from maetool.data.datasets.labels import Labels, aligned, labels_of
from maetool.errors import UsageError
from maetool.protocols import ModelLike
from maetool.registry import LOOPS, METRICS

from .base import BaseEvaluator, EvaluationData
from .loop import EarlierValLoop
from .names import named

if TYPE_CHECKING:
    from maetool.evaluation.metrics import Predictions


@METRICS.register_module()
class ClassificationEvaluator(BaseEvaluator):
    """Accuracies, average precision and calibration of a classifier; see `maetool.evaluation.metrics.summarise`.

    The model has `num_classes` and `multi_label`, and returns logits (B, K) in mode "predict". Each image counts once,
    for any number of processes; the replacement of a broken file does not count. Classes are matched by name with the
    trained ones, so a validation set may lack some.

    Args:
        dataloader, every, prefix: see `BaseEvaluator`; the images have labels.

    Attributes:
        predictions: the predictions of the last measurement.

    Raises:
        UsageError: data without labels, or with classes other than the model's.
    """

    metric_names = named(
        *("loss", "top1", "top5", "mean_class_accuracy", "mean_average_precision", "mean_auroc", "macro_f1"),
        "calibration_error",
    )
    files = ("predictions.csv", "reliability.png", "confusion_matrix.png", "confusion_matrix.csv")
    predictions: "Predictions"
    _dataset: Any

    def __init__(self, dataloader: Any = None, every: int = 1, prefix: str | None = None) -> None:
        super().__init__(dataloader, every, prefix)

    def measure(self, model: ModelLike, data: EvaluationData) -> dict[str, float]:
        """Return the metrics."""
        # Imported here because scikit-learn takes a second to import, and pretraining does not need it.
        from maetool.evaluation.metrics import Predictions, summarise

        own = labels_of(data.dataset).classes
        classes = list(data.trained_classes or own)
        _check(model, data.dataset.labels, classes)
        features = data.features({"logits": _logits})
        labels = aligned(Labels(own, features["label"]), classes)
        self.predictions, self._dataset = (
            Predictions(features["logits"].float(), labels, classes, features["index"]),
            data.dataset,
        )
        return summarise(self.predictions)

    def report(self, folder: Path) -> dict[str, Any]:
        """Write tables and pictures of the last measurement; see `maetool.evaluation.report.write_report`."""
        from maetool.evaluation.report import write_report

        names = [self._dataset.name_of(i) for i in self.predictions.index.tolist()]
        return write_report(self.predictions, names, folder)


@LOOPS.register_module()
class ClassificationValLoop(EarlierValLoop):
    """`ValLoop` with the evaluator `classes`, a `ClassificationEvaluator`, as configs of 0.1 name it.

    Args:
        runner, dataloader, evaluator, evaluators, bank_dataloader: see `EarlierValLoop`.
    """

    @property
    def predictions(self) -> "Predictions":
        """The predictions of the last validation."""
        return cast(ClassificationEvaluator, self.evaluators["classes"]).predictions


def _logits(model: ModelLike, images: Tensor) -> Tensor:
    return model(images, mode="predict")


def _check(model: ModelLike, labels: Tensor, classes: list[str]) -> None:
    if model.num_classes != len(classes):
        raise UsageError(
            f"The model predicts {model.num_classes} classes, but the data has {len(classes)}: set "
            f"model.num_classes={len(classes)}, or use data with the classes that the model was trained on."
        )
    if model.multi_label != (labels.ndim == 2):
        one, several = "one label per image", "several labels per image"
        model_has, data_has = (several, one) if model.multi_label else (one, several)
        raise UsageError(
            f"The model gives {model_has}, but the data has {data_has}: set model.multi_label={not model.multi_label}."
        )
