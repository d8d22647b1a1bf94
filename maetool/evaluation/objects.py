"""What a detector is worth."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object
from torch import nn

from maetool.data.datasets.broken_files import own_samples
from maetool.data.datasets.detection import ObjectDataset
from maetool.errors import UsageError
from maetool.registry import LOOPS, METRICS
from maetool.writing import write_csv, write_text

from .base import BaseEvaluator, EvaluationData
from .coco import KINDS, TOLD, CocoScores, to_coco
from .loop import EarlierValLoop
from .names import named


@METRICS.register_module()
class DetectionEvaluator(BaseEvaluator):
    """COCO's average precision of boxes and, where the model predicts them, of masks; see `CocoScores`.

    The model has `with_masks`, and detections in the mode "predict". Each image counts once, however many processes
    there are; a broken file does not count. Classes are matched by name with those that were trained on, so that a
    validation set may lack some.

    Args:
        dataloader, every, prefix: see `BaseEvaluator`; of an `ObjectDataset`.

    Attributes:
        found: the detections of the last measurement in COCO's format.
        scores: "box" and "mask" to what they are worth.

    Raises:
        UsageError: data without objects, or of classes that the model was not trained on.
    """

    metric_names = named(*(f"{kind}_{name}" for kind in KINDS for name in TOLD))
    files = ("detections.json", "classes.csv")
    found: list[dict[str, Any]]
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
                f"The validation data is a {type(dataset).__name__}, which has no objects: take a CocoDataset."
            )

    def measure(self, model: nn.Module, data: EvaluationData) -> dict[str, float]:
        """Return the metrics."""
        dataset = data.dataset
        self.check_dataset(dataset)
        kinds = ("box", "mask") if model.with_masks else ("box",)
        if model.with_masks and not dataset.with_masks:
            raise UsageError(
                "The validation data has boxes without masks: set with_masks alike there and in the model."
            )
        ids = _category_ids(data.trained_classes or dataset.classes, dataset)
        self.found, seen = _collect(model, data, ids)
        truth = dataset.coco()
        self.scores = {kind: CocoScores(truth, self.found, kind, seen) for kind in kinds}
        return {name: value for scores in self.scores.values() for name, value in scores.metrics.items()}

    def report(self, folder: Path) -> dict[str, Any]:
        """Write `detections.json`, COCO's result file, and `classes.csv`, the average precision of each class."""
        write_text(folder / "detections.json", json.dumps(self.found) + "\n")
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
    def found(self) -> list[dict[str, Any]]:
        """The detections of the last validation in COCO's format."""
        return self.evaluators["objects"].found

    @property
    def scores(self) -> dict[str, CocoScores]:
        """Of the last validation, "box" and "mask" to what they are worth."""
        return self.evaluators["objects"].scores


def _collect(
    model: nn.Module, data: EvaluationData, category_ids: Sequence[int | None]
) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the detections of all processes, and the ids of their images."""
    entries, seen = [], []
    for batch in data:
        detections = model(**model.data_preprocessor(batch), mode="predict")
        own = own_samples(batch).tolist()
        for found, index, valid in zip(detections, batch["index"].tolist(), own, strict=True):
            if valid:
                seen.append(data.dataset.image_id(index))
                entries += to_coco(found, seen[-1], category_ids)
    parts = all_gather_object((entries, seen))
    return [entry for part, _ in parts for entry in part], sorted(each for _, part in parts for each in part)


def _category_ids(trained: Sequence[str], dataset: ObjectDataset) -> list[int | None]:
    """Return for each class that was trained on the id that it has in the data, None where that lacks it."""
    ids = dict(zip(dataset.classes, dataset.category_ids(), strict=True))
    strange = [name for name in ids if name not in set(trained)]
    if strange:
        raise UsageError(
            f"The data has the class `{strange[0]}` ({len(strange)} such), but the model was trained on "
            f"{', '.join(f'`{name}`' for name in list(trained)[:12])}: use those classes, written alike."
        )
    return [ids.get(name) for name in trained]
