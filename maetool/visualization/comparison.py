"""Draws the results of several trainings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .pictures import new_figure, save_figure, widen_to

_ENTRY = 2.3  # inches that a title takes in the legend, as "untrained linear probe %"


def draw(results: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> bool:
    """Draw the accuracies of each run, one dot per seed, and those of untrained encoders and raw pixels as lines.

    Args:
        results: run, to title of a metric, to its value for each seed.
        path: of the picture, a PNG.

    Returns:
        False if no metric is an accuracy, so that nothing is drawn.
    """
    named = dict.fromkeys(title for metrics in results.values() for title in metrics if "%" in title and metrics[title])
    titles = [title for title in next(iter(results.values()), {}) if title in named]  # in the order of the table
    if not titles:
        return False
    width = 2.5 + 1.1 * len(results)
    figure = new_figure(width, 4.8)
    axes = figure.add_subplot()
    dotted = [title for title in titles if not _is_line(title)]
    step = min(0.16, 0.6 / len(dotted)) if dotted else 0.0  # the dots of a row stay apart from those of the next
    for number, title in enumerate(titles):
        style: dict[str, Any] = {"color": f"C{number}", "label": title, "alpha": 0.7}
        if _is_line(title):
            values = [v for metrics in results.values() for v in metrics[title]]
            axes.axhline(sum(values) / len(values), linestyle="--", **style)
            continue
        shift = step * (dotted.index(title) - (len(dotted) - 1) / 2)
        points = [(i + shift, v) for i, metrics in enumerate(results.values()) for v in metrics[title]]
        axes.plot(*zip(*points, strict=True), "o", **style)
    axes.set_xticks(range(len(results)), list(results), rotation=30, ha="right")
    axes.set(ylabel="accuracy (%)")
    widen_to(axes)
    axes.grid(alpha=0.3)
    columns = max(1, min(len(titles), int(width / _ENTRY)))
    figure.legend(loc="outside upper center", ncols=columns)  # never on top of the dots
    save_figure(figure, path)
    return True


def _is_line(title: str) -> bool:
    """Return whether a metric is the same in every row, but for seeds and sizes."""
    return title.startswith("untrained ") or "raw pixels" in title
