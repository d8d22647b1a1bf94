"""Figures for classifiers: confusion matrix, reliability diagram, label curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .pictures import new_figure, save_figure, widen_to

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUMBERED, _NAMED = 15, 60  # classes up to which the cells have numbers, and the axes names


def draw_confusion(counts: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix as a PNG at `path`; `counts` and `classes` as in `confusion_figure`."""
    save_figure(confusion_figure(counts, classes), path)


def confusion_figure(counts: np.ndarray, classes: Sequence[str]) -> "Figure":
    """Draw a confusion matrix: a row for each true class, shaded by the share of the row.

    Args:
        counts: int (K, K), rows true, columns predicted.
        classes: names of the K classes.
    """
    number = len(classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(14.0, 3.5 + 0.45 * number if number <= _NUMBERED else 4 + 0.16 * number)
    figure = new_figure(side + 1.2, side)
    axes = figure.add_subplot()
    picture = axes.imshow(shares * 100, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    if number <= _NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=8)
    if number <= _NAMED:
        small = 9 if number <= _NUMBERED else 6
        axes.set_xticks(range(number), classes, rotation=90, fontsize=small)
        axes.set_yticks(range(number), classes, fontsize=small)
    size = max(10.0, side)
    axes.set_xlabel("predicted", fontsize=size)
    axes.set_ylabel("true", fontsize=size)
    figure.colorbar(picture, ax=axes, shrink=0.8).set_label("share of the true class (%)", fontsize=size)
    return figure


def draw_reliability(confidence: np.ndarray, accuracy: np.ndarray, count: np.ndarray, error: float, path: Path) -> None:
    """Draw a reliability diagram, with the distribution of confidences below, as a PNG.

    Args:
        confidence, accuracy, count: one for each bin, see `maetool.evaluation.metrics.Reliability`.
        error: the expected calibration error, 0 to 1.
        path: the file.
    """
    figure = new_figure(5, 6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], "--", color="0.5", label="perfectly calibrated")
    above.vlines(confidence, confidence, accuracy, color="C3", alpha=0.6, label="gap")
    above.plot(confidence, accuracy, "o-", color="C0", label="measured")
    above.set(ylabel="share that was right", xlim=(0, 1), ylim=(0, 1.02), title=f"Calibration error {error:.1%}")
    above.legend(loc="upper left", fontsize=8)
    below.bar(confidence, count / count.sum() * 100, width=0.04, color="C0")
    below.set(xlabel="probability given", ylabel="predictions (%)")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def draw_label_curves(curves: Mapping[str, Mapping[int, Sequence[float]]], metric: str, path: Path) -> None:
    """Draw accuracy over the number of labels as a PNG: a line through the means, and a dot for each seed.

    Args:
        curves: {number of labels: values of the seeds} by name.
        metric: name of the metric.
        path: the file.
    """
    draw_sweep(curves, metric, "labelled images", path, logarithmic=True)


def draw_sweep(
    curves: Mapping[str, Mapping[Any, Sequence[float]]],
    metric: str,
    axis: str,
    path: Path,
    untrained: Sequence[float] = (),
    logarithmic: bool = False,
) -> None:
    """Draw a metric over numbers as a PNG: a line through the means, and a dot for each seed.

    Args:
        curves: {number: values of the seeds} by name.
        metric: name of the metric.
        axis: name of the numbers.
        path: the file.
        untrained: values of untrained encoders, of which the mean is a dashed line.
        logarithmic: whether equal ratios of the numbers, all above 0, are equally far apart.
    """
    figure = new_figure(6.5, 4.5)
    axes = figure.add_subplot()
    for colour, (name, points) in enumerate(curves.items()):
        numbers = sorted(points)
        axes.plot(numbers, [np.mean(points[n]) for n in numbers], "-", color=f"C{colour}", label=name)
        dots = [(n, value) for n in numbers for value in points[n]]
        axes.plot(*zip(*dots, strict=True), "o", color=f"C{colour}", alpha=0.6, markersize=4)
    if untrained:
        axes.axhline(float(np.mean(untrained)), color="0.5", linestyle="--", label="untrained")
    numbers = sorted({n for points in curves.values() for n in points})
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xticks(numbers, [f"{n:,}" if n >= 1000 else f"{n:g}" for n in numbers])
    axes.minorticks_off()
    axes.set(xlabel=axis, ylabel=metric)
    if "%" in metric:
        widen_to(axes)
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)
