"""Validation of a detector."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object

from maetool.data.datasets.broken_files import own_samples
from maetool.data.datasets.detection import ObjectDataset
from maetool.errors import UsageError
from maetool.evaluation.coco import CocoScores, to_coco
from maetool.registry import LOOPS
from maetool.writing import write_csv, write_text

from .loop import ValLoop


@LOOPS.register_module()
class DetectionValLoop(ValLoop):
    """COCO's average precision of boxes and, where the model predicts them, of masks; see `CocoScores`.

    Each image counts once, however many processes there are; a broken file does not count. Classes are matched by name
    with those that were trained on, so that a validation set may lack some.

    Args:
        runner: the runner; its model has `with_masks`, and detections in the mode "predict".
        dataloader: loader or config of the validation data, an `ObjectDataset`.
        evaluator: further metrics, see `ValLoop`.

    Attributes:
        found: the detections of the last validation in COCO's format.
        scores: "box" and "mask" to what they are worth.

    Raises:
        UsageError: data without objects, or of classes that the model was not trained on.
    """

    found: list[dict[str, Any]]
    scores: dict[str, CocoScores]

    def measure(self) -> dict[str, float]:
        """Return the metrics."""
        dataset, model = self.dataloader.dataset, self.runner.bare_model
        if not isinstance(dataset, ObjectDataset):
            raise UsageError(
                f"The validation data is a {type(dataset).__name__}, which has no objects: take a CocoDataset."
            )
        kinds = ("box", "mask") if model.with_masks else ("box",)
        if model.with_masks and not dataset.with_masks:
            raise UsageError(
                "The validation data has boxes without masks: set with_masks alike there and in the model."
            )
        ids = _category_ids(self.runner.trained_classes or dataset.classes, dataset)
        self.found, seen = self._collect(ids)
        truth = dataset.coco()
        self.scores = {kind: CocoScores(truth, self.found, kind, seen) for kind in kinds}
        return {name: value for scores in self.scores.values() for name, value in scores.metrics.items()}

    def _collect(self, category_ids: Sequence[int | None]) -> tuple[list[dict[str, Any]], list[int]]:
        """Return the detections of all processes, and the ids of their images."""
        model, dataset, entries, seen = self.runner.bare_model, self.dataloader.dataset, [], []
        for data in self.batches:
            detections = model(**model.data_preprocessor(data), mode="predict")
            own = own_samples(data).tolist()
            for found, index, valid in zip(detections, data["index"].tolist(), own, strict=True):
                if valid:
                    seen.append(dataset.image_id(index))
                    entries += to_coco(found, seen[-1], category_ids)
        parts = all_gather_object((entries, seen))
        return [entry for part, _ in parts for entry in part], sorted(each for _, part in parts for each in part)

    def report(self, folder: Path) -> dict[str, Any]:
        """Write `detections.json`, COCO's result file, and `classes.csv`, the average precision of each class."""
        write_text(folder / "detections.json", json.dumps(self.found) + "\n")
        rows = [["class", *(f"{kind}_ap" for kind in self.scores)]]
        for name in self.scores["box"].classes:
            rows.append([name, *(f"{scores.classes[name]:.2f}" for scores in self.scores.values())])
        write_csv(folder / "classes.csv", rows)
        return {}


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
