"""Validation of a segmentor."""

from math import isnan
from pathlib import Path
from typing import Any

from mmengine.dist import all_reduce
from torch import nn

from maetool.data.datasets.broken_files import own_samples
from maetool.data.datasets.dense import DenseDataset
from maetool.errors import UsageError
from maetool.registry import LOOPS
from maetool.writing import write_csv

from .confusion import SegmentationScores, no_scores, pixel_confusion, predict_classes
from .loop import ValLoop


@LOOPS.register_module()
class SegmentationValLoop(ValLoop):
    """Mean intersection over union and accuracies of a segmentor; see `SegmentationScores`.

    Logits are resized to the truth of each image, whatever size the model saw. Each image counts once, however many
    processes there are; one that replaces a broken file does not count.

    Args:
        runner: the runner; its model gives logits (B, K, H, W) in the mode "predict".
        dataloader: loader or config of the validation data; one image a batch, where their sizes differ.
        evaluator: further metrics, see `ValLoop`.

    Attributes:
        scores: those of the last validation.

    Raises:
        UsageError: data without classes of pixels, or with others than the model was trained on.
    """

    scores: SegmentationScores

    def __init__(self, runner: Any, dataloader: Any, evaluator: Any = None) -> None:
        super().__init__(runner, dataloader, evaluator)
        dataset = self.dataloader.dataset
        if not isinstance(dataset, DenseDataset):
            raise UsageError(
                f"The validation data is a {type(dataset).__name__}, which has no classes of pixels: take a "
                "SegmentationDataset."
            )

    def measure(self) -> dict[str, float]:
        """Return the metrics."""
        dataset, model = self.dataloader.dataset, self.runner.bare_model
        self._check(dataset, model)
        scores = no_scores(model.num_classes)
        for data in self.batches:
            valid, truth = own_samples(data), data["semantic"]
            predicted = predict_classes(model, data, truth.shape[-2:])[valid]
            scores = scores.added(pixel_confusion(predicted, truth[valid], model.num_classes, model.ignore_index))
        all_reduce(scores.confusion)
        if not scores.confusion.any():
            raise UsageError("No pixel of the validation data counts: check its PNGs, and zero_is_ignored.")
        self.scores = scores
        return scores.metrics

    def report(self, folder: Path) -> dict[str, Any]:
        """Write `classes.csv`, what each class is worth, and `confusion.csv`, pixels of true and predicted classes."""
        names = self.dataloader.dataset.classes
        iou, accuracy = (values.mul(100).tolist() for values in (self.scores.class_iou, self.scores.class_accuracy))
        pixels = self.scores.confusion.sum(dim=1).tolist()
        rows = zip(names, map("{:.2f}".format, iou), map("{:.2f}".format, accuracy), pixels, strict=True)
        write_csv(folder / "classes.csv", [["class", "iou", "accuracy", "pixels"], *rows])
        counts = zip(names, self.scores.confusion.tolist(), strict=True)
        write_csv(folder / "confusion.csv", [["true class", *names], *([name, *row] for name, row in counts)])
        return {"class_iou": {name: None if isnan(v) else v for name, v in zip(names, iou, strict=True)}}

    def _check(self, dataset: Any, model: nn.Module) -> None:
        trained = list(self.runner.trained_classes or dataset.classes)
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
