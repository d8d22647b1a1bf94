"""What `maetool test` writes about a classifier: tables and pictures."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maetool.visualization.classification import draw_confusion, draw_reliability
from maetool.writing import write_csv

from .metrics import Predictions, average_precisions, class_accuracies, confusion, reliability


def write_report(found: Predictions, names: Sequence[str], folder: Path) -> dict[str, Any]:
    """Write what goes beyond the metrics of a validation.

    Always `predictions.csv`, a row for each image: path, label, predicted class and its probability; with several
    labels for an image 0 or 1 and the probability of every class. `reliability.png`; and with one label for each image
    `confusion_matrix.png` and `confusion_matrix.csv`, true classes in rows.

    Args:
        found: the predictions for N images.
        names: what to call these images.
        folder: where the files go.

    Returns:
        What JSON can hold: `mean_average_precision` in percent, and `classes`, name to the number of images, the
        average precision and with one label for each image the accuracy, both in percent; None where undefined.
    """
    header, rows = _table(found, names)
    write_csv(folder / "predictions.csv", [header, *rows])
    precision = average_precisions(found)
    columns = {"average_precision": precision}
    if not found.multi_label:
        columns["accuracy"] = class_accuracies(found)
        counts = confusion(found)
        rows = ([name, *row] for name, row in zip(found.classes, counts.tolist(), strict=True))
        write_csv(folder / "confusion_matrix.csv", [["true", *found.classes], *rows])
        draw_confusion(counts, found.classes, folder / "confusion_matrix.png")
    binned = reliability(found)
    draw_reliability(binned.confidence, binned.accuracy, binned.count, binned.error, folder / "reliability.png")
    images = found.labels.sum(dim=0) if found.multi_label else found.labels.bincount(minlength=len(found.classes))
    classes = {
        name: {"images": int(images[i]), **{title: _percent(values[i]) for title, values in columns.items()}}
        for i, name in enumerate(found.classes)
    }
    return {"mean_average_precision": _percent(np.nanmean(precision)), "classes": classes}


def _percent(value: float) -> float | None:
    return None if math.isnan(value) else float(value) * 100


def _table(found: Predictions, names: Sequence[str]) -> tuple[list[str], Iterable[list[Any]]]:
    scores = found.scores
    if found.multi_label:
        header = ["path", *found.classes, *(f"probability of {name}" for name in found.classes)]
        labels = found.labels.int().tolist()
        rows = ([name, *labels[i], *(f"{p:.6f}" for p in scores[i])] for i, name in enumerate(names))
        return header, rows
    best, labels = scores.argmax(axis=1), found.labels.tolist()
    rows = (
        [name, found.classes[labels[i]], found.classes[best[i]], f"{scores[i, best[i]]:.6f}"]
        for i, name in enumerate(names)
    )
    return ["path", "label", "predicted", "probability"], rows
