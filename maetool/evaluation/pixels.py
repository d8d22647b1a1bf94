"""Evaluation of a segmentor: mean IoU and accuracies."""

import logging
from math import isnan
from pathlib import Path
from typing import Any, cast

from mmengine.dist import all_reduce

from maetool.data.datasets.broken_files import own_samples
from maetool.data.datasets.dense import DenseDataset
from maetool.data.datasets.masks.values import MaskValues
from maetool.errors import UsageError
from maetool.messages import print_log
from maetool.protocols import ModelLike
from maetool.registry import LOOPS, METRICS
from maetool.writing import write_csv

from .base import BaseEvaluator, EvaluationData
from .confusion import SegmentationScores, no_scores, pixel_confusion, predict_classes
from .loop import EarlierValLoop
from .names import named


@METRICS.register_module()
class SegmentationEvaluator(BaseEvaluator):
    """Mean intersection over union and accuracies of a segmentor; see `SegmentationScores`.

    The model returns logits (B, K, H, W) in mode "predict", which are resized to the ground truth of each image.
    Each image counts once, for any number of processes; the replacement of a broken file does not count.

    Args:
        dataloader, every, prefix: see `BaseEvaluator`; batches of one image if image sizes differ.

    Attributes:
        scores: the scores of the last measurement.

    Raises:
        UsageError: data without pixel classes, or with classes other than the trained ones.
    """

    metric_names = named("mean_iou", "pixel_accuracy", "mean_pixel_accuracy")
    files = ("classes.csv", "confusion.csv")
    scores: SegmentationScores
    _classes: list[str]

    def __init__(self, dataloader: Any = None, every: int = 1, prefix: str | None = None) -> None:
        super().__init__(dataloader, every, prefix)
        self._looked_at: Any = None

    def check_dataset(self, dataset: Any) -> None:
        """Check that a dataset has pixel classes, look at the values of its masks, and log their shares.

        Raises:
            UsageError: it has none, or masks of which nothing counts, see `MaskValues.check`.
        """
        if not isinstance(dataset, DenseDataset):
            raise UsageError(
                f"The validation data is a {type(dataset).__name__}, which has no pixel classes: use a "
                "SegmentationDataset."
            )
        if dataset is not self._looked_at:
            self._looked_at = dataset
            _look_at(getattr(dataset, "values", None))

    def measure(self, model: ModelLike, data: EvaluationData) -> dict[str, float]:
        """Return the metrics of the confusion matrix, see `BaseEvaluator.measure`.

        Raises:
            UsageError: data without classes of pixels or of other classes, or of which all pixels are ignored.
        """
        self.check_dataset(data.dataset)
        _check_classes(data, model)
        scores = no_scores(model.num_classes)
        for batch in data:
            valid, truth = own_samples(batch), batch["semantic"]
            predicted = predict_classes(model, batch, truth.shape[-2:])[valid]
            scores = scores.added(pixel_confusion(predicted, truth[valid], model.num_classes, model.ignore_index))
        all_reduce(scores.confusion)
        if not scores.confusion.any():
            raise UsageError("All pixels of the validation data are ignored: check its PNGs, and zero_is_ignored.")
        self.scores, self._classes = scores, data.dataset.classes
        return scores.metrics

    def report(self, folder: Path) -> dict[str, Any]:
        """Write `classes.csv`, the scores of each class, and `confusion.csv`, the confusion matrix of pixels."""
        names = self._classes
        iou, accuracy = (values.mul(100).tolist() for values in (self.scores.class_iou, self.scores.class_accuracy))
        pixels = self.scores.confusion.sum(dim=1).tolist()
        rows = zip(names, map("{:.2f}".format, iou), map("{:.2f}".format, accuracy), pixels, strict=True)
        write_csv(folder / "classes.csv", [["class", "iou", "accuracy", "pixels"], *rows])
        counts = zip(names, self.scores.confusion.tolist(), strict=True)
        write_csv(folder / "confusion.csv", [["true class", *names], *([name, *row] for name, row in counts)])
        return {"class_iou": {name: None if isnan(v) else v for name, v in zip(names, iou, strict=True)}}


@LOOPS.register_module()
class SegmentationValLoop(EarlierValLoop):
    """`ValLoop` with the evaluator `pixels`, a `SegmentationEvaluator`, as configs of 0.1 name it.

    Args:
        runner, dataloader, evaluator, evaluators, bank_dataloader: see `EarlierValLoop`.
    """

    @property
    def scores(self) -> SegmentationScores:
        """The scores of the last validation."""
        return cast(SegmentationEvaluator, self.evaluators["pixels"]).scores


def _look_at(values: MaskValues | None) -> None:
    """Log what the masks of the validation data hold; few of them may lack a class, so that is a warning alone."""
    if values is None:  # drawn
        return
    problem = values.warning()
    try:
        values.check()
    except UsageError as error:
        if values.is_certain:
            raise
        problem = str(error)
    print_log(f"Validation masks: {values.describe()}")
    if problem:
        print_log(f"Validation masks: {problem}", level=logging.WARNING)


def _check_classes(data: EvaluationData, model: ModelLike) -> None:
    dataset = data.dataset
    trained = list(data.trained_classes or dataset.classes)
    if trained != list(dataset.classes):
        raise UsageError(
            f"The validation data has the classes {_some(dataset.classes)}, but the model was trained on "
            f"{_some(trained)}: give both the same list in the same order."
        )
    if model.num_classes != len(trained):
        raise UsageError(
            f"The data has {len(trained)} classes, but model.num_classes is {model.num_classes}: add --cfg-options "
            f"model.num_classes={len(trained)}."
        )


def _some(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
