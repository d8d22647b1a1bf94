"""Draws the results of several trainings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from .pictures import new_figure, save_figure, widen_to

_ENTRY = 2.3  # inches that a title takes in the legend, as "untrained linear probe %"


def draw(results: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> bool:
    """Draw the accuracies of each run, one dot per seed, and the mean of untrained encoders as a line, as a PNG.

    Args:
        results: run, to title of a metric, to its value for each seed.
        path: of the picture.

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
    for number, title in enumerate(titles):
        shift = 0.16 * (number - (len(titles) - 1) / 2)
        if title.startswith("untrained "):  # the same encoder in every row, but for seeds and sizes
            values = [v for metrics in results.values() for v in metrics[title]]
            axes.axhline(sum(values) / len(values), linestyle="--", color=f"C{number}", label=title, alpha=0.7)
            continue
        points = [(i + shift, v) for i, metrics in enumerate(results.values()) for v in metrics[title]]
        axes.plot(*zip(*points, strict=True), "o", color=f"C{number}", label=title, alpha=0.7)
    axes.set_xticks(range(len(results)), list(results), rotation=30, ha="right")
    axes.set(ylabel="accuracy (%)")
    widen_to(axes)
    axes.grid(alpha=0.3)
    columns = max(1, min(len(titles), int(width / _ENTRY)))
    figure.legend(loc="outside upper center", ncols=columns)  # never on top of the dots
    save_figure(figure, path)
    return True
