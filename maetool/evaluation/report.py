"""Tables and pictures that `maetool test` writes for a classifier."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maetool.visualization.classification import draw_confusion, draw_reliability
from maetool.writing import write_csv

from .metrics import (
    Predictions,
    areas_under_roc,
    average_precisions,
    class_accuracies,
    confusion,
    f1_scores,
    reliability,
)


def write_report(predictions: Predictions, names: Sequence[str], folder: Path) -> dict[str, Any]:
    """Write details that the metrics do not show.

    `predictions.csv` has a row for each image: path, label, predicted class and its probability; with several labels
    per image, 0 or 1 and the probability of every class. `reliability.png` is a reliability diagram. With one label per
    image, `confusion_matrix.png` and `confusion_matrix.csv` have the true classes in rows.

    Args:
        predictions: the predictions for N images.
        names: names of these images.
        folder: folder of the files.

    Returns:
        JSON-serialisable details: `mean_average_precision` in percent, and `classes`, by name the number of images,
        and in percent average precision, area under the ROC curve, recall, F1 and with one label per image the
        accuracy, which is the recall; None if undefined.
    """
    header, rows = _table(predictions, names)
    write_csv(folder / "predictions.csv", [header, *rows])
    precision = average_precisions(predictions)
    recall = class_accuracies(predictions)
    columns = {"average_precision": precision, "auroc": areas_under_roc(predictions), "recall": recall}
    columns["f1"] = f1_scores(predictions)
    if not predictions.multi_label:
        columns["accuracy"] = recall
        counts = confusion(predictions)
        rows = ([name, *row] for name, row in zip(predictions.classes, counts.tolist(), strict=True))
        write_csv(folder / "confusion_matrix.csv", [["true", *predictions.classes], *rows])
        draw_confusion(counts, predictions.classes, folder / "confusion_matrix.png")
    binned = reliability(predictions)
    draw_reliability(binned.confidence, binned.accuracy, binned.count, binned.error, folder / "reliability.png")
    images = (
        (predictions.labels > 0).sum(dim=0)
        if predictions.multi_label
        else predictions.labels.bincount(minlength=len(predictions.classes))
    )
    classes = {
        name: {"images": int(images[i]), **{title: _percent(values[i]) for title, values in columns.items()}}
        for i, name in enumerate(predictions.classes)
    }
    return {"mean_average_precision": _percent(np.nanmean(precision)), "classes": classes}


def _bit(label: float) -> int | str:
    return "" if math.isnan(label) else int(label)


def _percent(value: float) -> float | None:
    return None if math.isnan(value) else float(value) * 100


def _table(predictions: Predictions, names: Sequence[str]) -> tuple[list[str], Iterable[list[Any]]]:
    scores = predictions.scores
    if predictions.multi_label:
        header = ["path", *predictions.classes, *(f"probability of {name}" for name in predictions.classes)]
        labels = predictions.labels.tolist()
        rows = ([name, *map(_bit, labels[i]), *(f"{p:.6f}" for p in scores[i])] for i, name in enumerate(names))
        return header, rows
    best, labels = scores.argmax(axis=1), predictions.labels.tolist()
    rows = (
        [name, predictions.classes[labels[i]], predictions.classes[best[i]], f"{scores[i, best[i]]:.6f}"]
        for i, name in enumerate(names)
    )
    return ["path", "label", "predicted", "probability"], rows
