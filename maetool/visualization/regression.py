"""Figures for models that predict numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .pictures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_scatter(true: np.ndarray, predicted: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Draw predictions over the truth as a PNG at `path`; the others as in `scatter_figure`."""
    save_figure(scatter_figure(true, predicted, names), path)


def scatter_figure(true: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> "Figure":
    """Draw predictions over the truth, one plot for each of the first 12 numbers.

    Args:
        true, predicted: (N, K); NaN where unknown.
        names: of the K numbers.
    """
    shown = names[:12]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(4 * columns, 4 * rows)
    for i, name in enumerate(shown):
        axes = figure.add_subplot(rows, columns, i + 1)
        known = ~np.isnan(true[:, i])
        both = np.concatenate([true[known, i], predicted[known, i]])
        axes.plot(true[known, i], predicted[known, i], ".", alpha=0.5)
        if len(both):
            axes.plot([both.min(), both.max()], [both.min(), both.max()], "--", color="0.5")
        axes.set(xlabel=f"{name}, true", ylabel="predicted")
        axes.grid(alpha=0.3)
    return figure
