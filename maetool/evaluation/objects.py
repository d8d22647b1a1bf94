"""Evaluation of a detector: COCO's average precision."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from mmengine.dist import all_gather_object

from maetool.data.datasets.broken_files import own_samples
from maetool.data.datasets.detection import ObjectDataset
from maetool.data.objects import numbers_in
from maetool.errors import UsageError
from maetool.protocols import ModelLike
from maetool.registry import LOOPS, METRICS
from maetool.writing import to_json, write_csv, write_text

from .base import BaseEvaluator, EvaluationData
from .coco import KINDS, STATISTICS, CocoScores, Id, to_coco
from .loop import EarlierValLoop
from .names import named

_MOST = 100  # detections of an image that count in COCO


@METRICS.register_module()
class DetectionEvaluator(BaseEvaluator):
    """COCO's average precision of boxes and, where the model predicts them, of masks; see `CocoScores`.

    The model has `with_masks`, and returns detections in mode "predict". Each image counts once, for any number of
    processes; a broken file does not count. Classes are matched by name with the trained ones, so a validation set may
    lack some. As many detections of an image count as the model can find, at least COCO's 100.

    Args:
        dataloader, every, prefix: see `BaseEvaluator`; the dataset must be an `ObjectDataset`.

    Attributes:
        detections: the detections of the last measurement in COCO's format.
        scores: `CocoScores` of "box" and "mask".

    Raises:
        UsageError: data without objects, or of classes that the model was not trained on.
    """

    metric_names = named(*(f"{kind}_{name}" for kind in KINDS for name in STATISTICS))
    files = ("detections.json", "classes.csv")
    detections: list[dict[str, Any]]
    scores: dict[str, CocoScores]

    def __init__(self, dataloader: Any = None, every: int = 1, prefix: str | None = None) -> None:
        super().__init__(dataloader, every, prefix)

    def check_dataset(self, dataset: Any) -> None:
        """Check that a dataset has objects.

        Raises:
            UsageError: it has none.
        """
        if not isinstance(dataset, ObjectDataset):
            raise UsageError(
                f"The validation data is a {type(dataset).__name__}, which has no objects: use a CocoDataset."
            )

    def measure(self, model: ModelLike, data: EvaluationData) -> dict[str, float]:
        """Return the average precisions, see `BaseEvaluator.measure`.

        Raises:
            UsageError: data without objects, without masks for a model that predicts them, or of other classes.
        """
        dataset = data.dataset
        self.check_dataset(dataset)
        kinds = ("box", "mask") if model.with_masks else ("box",)
        if model.with_masks and not dataset.with_masks:
            raise UsageError(
                "The validation data has boxes without masks, but the model predicts masks: set with_masks to the same "
                "value in both."
            )
        ids = _category_ids(data.trained_classes or dataset.classes, dataset)
        self.detections, seen = _collect(model, data, ids)
        truth = dataset.coco()
        most = max(_MOST, getattr(model, "max_detections", 0))
        self.scores = {kind: CocoScores(truth, self.detections, kind, seen, most) for kind in kinds}
        return {name: value for scores in self.scores.values() for name, value in scores.metrics.items()}

    def report(self, folder: Path) -> dict[str, Any]:
        """Write `detections.json`, COCO's result file, and `classes.csv`, the average precision of each class."""
        write_text(folder / "detections.json", to_json(self.detections, indent=None))
        rows = [["class", *(f"{kind}_ap" for kind in self.scores)]]
        for name in self.scores["box"].classes:
            rows.append([name, *(f"{scores.classes[name]:.2f}" for scores in self.scores.values())])
        write_csv(folder / "classes.csv", rows)
        return {}


@LOOPS.register_module()
class DetectionValLoop(EarlierValLoop):
    """`ValLoop` with the evaluator `objects`, a `DetectionEvaluator`, as configs of 0.1 name it.

    Args:
        runner, dataloader, evaluator, evaluators, bank_dataloader: see `EarlierValLoop`.
    """

    @property
    def _evaluator(self) -> DetectionEvaluator:
        return cast(DetectionEvaluator, self.evaluators["objects"])

    @property
    def detections(self) -> list[dict[str, Any]]:
        """The detections of the last validation in COCO's format."""
        return self._evaluator.detections

    @property
    def found(self) -> list[dict[str, Any]]:
        """The old name of `detections`."""
        warnings.warn(
            "DetectionValLoop.found is now DetectionValLoop.detections; maetool 0.3.0 removes the old name.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.detections

    @property
    def scores(self) -> dict[str, CocoScores]:
        """`CocoScores` of "box" and "mask" in the last validation."""
        return self._evaluator.scores


def _collect(
    model: ModelLike, data: EvaluationData, category_ids: Sequence[Id | None]
) -> tuple[list[dict[str, Any]], list[Id]]:
    """Return the detections of all processes, and the ids of their images."""
    entries, seen = [], []
    for batch in data:
        detections = model(**model.data_preprocessor(batch), mode="predict")
        own = own_samples(batch).tolist()
        for detected, index, valid in zip(detections, batch["index"].tolist(), own, strict=True):
            if valid:
                seen.append(data.dataset.image_id(index))
                entries += to_coco(detected, seen[-1], category_ids)
    parts = all_gather_object((entries, seen))
    return [entry for part, _ in parts for entry in part], [each for _, part in parts for each in part]


def _category_ids(trained: Sequence[str], dataset: ObjectDataset) -> list[Id | None]:
    """Return for each trained class its id in the data, None if the data lacks it."""
    ids = dict(zip(dataset.classes, dataset.category_ids(), strict=True))
    numbers_in(dataset.classes, trained)  # all known
    return [ids.get(name) for name in trained]
