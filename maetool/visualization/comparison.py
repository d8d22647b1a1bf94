"""Draws what several trainings came to."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from .pictures import new_figure, save_figure


def draw(found: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> bool:
    """Draw the accuracies of each run, one dot for each seed, as a PNG; return False, and draw nothing, without any."""
    named = dict.fromkeys(title for metrics in found.values() for title in metrics if "%" in title and metrics[title])
    titles = [title for title in next(iter(found.values()), {}) if title in named]  # in the order of the table
    if not titles:
        return False
    figure = new_figure(2.5 + 1.1 * len(found), 4.8)
    axes = figure.add_subplot()
    for number, title in enumerate(titles):
        shift = 0.16 * (number - (len(titles) - 1) / 2)
        points = [(i + shift, v) for i, metrics in enumerate(found.values()) for v in metrics[title]]
        axes.plot(*zip(*points, strict=True), "o", label=title, alpha=0.7)
    axes.set_xticks(range(len(found)), list(found), rotation=30, ha="right")
    axes.set(ylabel="accuracy (%)")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=len(titles))  # beside the dots, whatever they are
    save_figure(figure, path)
    return True
