"""Validation of a classifier."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from maetool.data.datasets.labels import Labels, aligned, labels_of
from maetool.errors import UsageError
from maetool.evaluation import collect_features
from maetool.registry import LOOPS

from .loop import ValLoop

if TYPE_CHECKING:
    from maetool.evaluation.metrics import Predictions


@LOOPS.register_module()
class ClassificationValLoop(ValLoop):
    """Accuracies, average precision and calibration of a classifier; see `maetool.evaluation.metrics.summarise`.

    Each image counts once, however many processes there are; one that replaces a broken file does not count. Classes
    are matched by name with those that were trained on, so that a validation set may lack some.

    Args:
        runner: the runner; its model has `num_classes`, `multi_label`, and logits (B, K) in the mode "predict".
        dataloader: loader or config of the labelled validation data.
        evaluator: further metrics, see `ValLoop`.

    Attributes:
        predictions: those of the last validation.

    Raises:
        UsageError: data without labels, or of other classes than the model's.
    """

    predictions: "Predictions"

    def measure(self) -> dict[str, float]:
        """Return the metrics."""
        # Imported here because scikit-learn takes a second to import, which pretraining need not wait for.
        from maetool.evaluation.metrics import Predictions, summarise

        dataset, model = self.dataloader.dataset, self.runner.bare_model
        own = labels_of(dataset).classes
        classes = list(self.runner.trained_classes or own)
        _check(model, dataset.labels, classes)
        found = collect_features(model, self.batches, {"logits": _logits})
        labels = aligned(Labels(own, found["label"]), classes)
        self.predictions = Predictions(found["logits"].float(), labels, classes, found["index"])
        return summarise(self.predictions)

    def report(self, folder: Path) -> dict[str, Any]:
        """Write tables and pictures of the last validation; see `maetool.evaluation.report.write_report`."""
        from maetool.evaluation.report import write_report

        names = [self.dataloader.dataset.name_of(i) for i in self.predictions.index.tolist()]
        return write_report(self.predictions, names, folder)


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    return model(images, mode="predict")


def _check(model: nn.Module, labels: Tensor, classes: list[str]) -> None:
    if model.num_classes != len(classes):
        raise UsageError(
            f"The model tells {model.num_classes} classes apart, but the data has {len(classes)}: set "
            f"model.num_classes={len(classes)}, or take the data that the model was trained on."
        )
    if model.multi_label != (labels.ndim == 2):
        one, several = "one label for each image", "several labels for an image"
        model_has, data_has = (several, one) if model.multi_label else (one, several)
        raise UsageError(
            f"The model gives {model_has}, but the data has {data_has}: set model.multi_label={not model.multi_label}."
        )
