"""Several configs, or variants of one, each trained with a few seeds, as a table and curves."""

from maetool._deprecated import moved

from .axes import label_curves, over_labels, over_values, value_curves
from .results import METRICS, collect, read_result, to_markdown, write_result
from .rows import Row
from .runs import Run, rows_of, run_all, with_finetuning

__all__ = [
    "METRICS",
    "Row",
    "Run",
    "collect",
    "label_curves",
    "over_labels",
    "over_values",
    "read_result",
    "rows_of",
    "run_all",
    "to_markdown",
    "value_curves",
    "with_finetuning",
    "write_result",
]

__getattr__ = moved(__name__, {"draw": "maetool.visualization.comparison.draw"}, "0.3.0")
