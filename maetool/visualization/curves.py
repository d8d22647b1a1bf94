"""Curves from the JSON logs."""

import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Logs = dict[str, dict[int, float]]


def read_logs(work_dir: Path) -> Logs:
    """Return name to {step: value} of a work folder; of steps that a resumed run repeated, the later value counts."""
    logs: Logs = {}
    for path in sorted(work_dir.glob("*/vis_data/scalars.json")):
        for line in path.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:  # the last line of a killed run
                continue
            for name, value in record.items():
                if isinstance(value, int | float) and "step" in record:
                    logs.setdefault(name, {})[record["step"]] = value
    return logs


def draw_curves(logs: Logs, path: Path) -> None:
    """Draw the loss beside that of a constant predictor, and kNN accuracy if there is one, as a PNG."""
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    lines = {
        "loss": ("training loss", "C0", "-"),
        "val/loss": ("validation loss (fixed masks)", "C1", "o-"),
        "constant_predictor": ("loss of a constant predictor", "0.5", "--"),
    }
    for name, (label, colour, style) in lines.items():
        if logs.get(name):
            axes.plot(*_points(logs[name]), style, color=colour, label=label, markersize=3)
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    handles, labels = axes.get_legend_handles_labels()
    if logs.get("val/knn"):
        right = axes.twinx()
        right.plot(*_points(logs["val/knn"]), "s-", color="C2", markersize=3, label="kNN accuracy")
        right.set(ylabel="kNN accuracy (%)", ylim=(0, 100))
        more = right.get_legend_handles_labels()
        handles, labels = handles + more[0], labels + more[1]
    axes.legend(handles, labels, loc="best", fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(path)


def _points(values: dict[int, float]) -> tuple[list[int], list[float]]:
    steps = sorted(values)
    return steps, [values[step] for step in steps]
