"""Curves from the JSON logs."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maetool.errors import UsageError
from maetool.reading import read_file

from .pictures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKED = 40  # points of a line, up to which each has a dot
_logger = logging.getLogger("maetool")

Logs = dict[str, dict[int, float]]


def read_logs(work_dir: Path) -> Logs:
    """Return {step: value} by name from the logs of a work folder; the later value counts if a step was repeated.

    Damaged lines are left out and counted in a warning, except the last one, which a killed run may cut off.

    Args:
        work_dir: folder of the run.

    Raises:
        UsageError: a log cannot be read.
    """
    logs: Logs = {}
    for path in sorted(work_dir.glob("*/vis_data/scalars.json")):
        lines = _lines(path)
        records = [_record(line) for line in lines]
        if broken := records[:-1].count(None):
            _logger.warning("%s: %d of %d lines are damaged and are left out.", path, broken, len(lines))
        for record in filter(None, records):
            for name, value in record.items():
                if isinstance(value, int | float) and "step" in record:
                    logs.setdefault(name, {})[record["step"]] = value
    return logs


def _lines(path: Path) -> list[bytes]:
    try:
        return read_file(path).splitlines()
    except OSError as error:
        raise UsageError(
            f"The log {path} cannot be read ({error.strerror}): remove it, or grant permission."
        ) from error


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step", 0), int | float) else None


def draw_curves(logs: Logs, path: Path, metrics: Mapping[str, Any] | None = None) -> None:
    """Draw the loss, that of a constant predictor, and metrics, as a PNG.

    Args:
        logs: the result of `read_logs`.
        path: the file.
        metrics: `maetool.evaluation.names.MetricName` by name in the logs, such as "val/knn": percentages are drawn in
            the panel of the loss on a second axis, other numbers each in a panel below.
    """
    metrics = {name: entry for name, entry in (metrics or {}).items() if logs.get(name)}
    others = {name: entry for name, entry in metrics.items() if entry.unit != "%"}
    figure = new_figure(8, 4.5 + 2.5 * len(others))
    first, *panels = figure.subplots(1 + len(others), squeeze=False, height_ratios=[4.5] + [2.5] * len(others))[:, 0]
    _draw_losses(first, logs, {name: entry for name, entry in metrics.items() if name not in others})
    for axes, (name, entry) in zip(panels, others.items(), strict=True):
        axes.plot(*_points(logs[name]), "s-", markersize=3)
        axes.set(xlabel="step", ylabel=entry.words)
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def _draw_losses(axes: Any, logs: Logs, percentages: Mapping[str, Any]) -> None:
    lines = {
        "loss": ("training loss", "C0", "-"),
        "val/loss": ("validation loss" + " (fixed masks)" * ("val/masked_fraction" in logs), "C1", "o-"),
        "constant_predictor": ("loss of a constant predictor", "0.5", "--"),
    }
    for name, (label, colour, style) in lines.items():
        if logs.get(name):
            axes.plot(*_points(logs[name]), style, color=colour, label=label, markersize=3)
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    handles, labels = axes.get_legend_handles_labels()
    if percentages:
        right = axes.twinx()
        for number, (name, entry) in enumerate(percentages.items(), start=2):
            right.plot(*_points(logs[name]), "s-", color=f"C{number}", markersize=3, label=entry.words)
        only = next(iter(percentages.values())).words
        right.set(ylabel=f"{only} (%)" if len(percentages) == 1 else "%", ylim=(0, 100))
        more = right.get_legend_handles_labels()
        handles, labels = handles + more[0], labels + more[1]
    axes.legend(handles, labels, loc="best", fontsize=8)
    axes.grid(alpha=0.3)


def read_runs(folders: Sequence[Path], keys: Sequence[str]) -> dict[str, Logs]:
    """Return the logs of several work folders by name; a name is the folder's, or its path if names repeat.

    Args:
        folders: work folders.
        keys: names that at least one of the runs must have logged.

    Raises:
        UsageError: a folder without logs, or a key that none of the runs logged.
    """
    runs = {}
    for folder in folders:
        logs = read_logs(folder)
        if not logs:
            raise UsageError(f"{folder} holds no logs of a run: pass work folders, such as work_dirs/mae_vit-b_800e.")
        name = folder.name if [f.name for f in folders].count(folder.name) == 1 else str(folder)
        runs[name] = logs
    logged = sorted({name for logs in runs.values() for name in logs})
    for key in keys:
        if key not in logged:
            raise UsageError(f"None of the runs logged `{key}`: choose among {', '.join(logged)}.")
    return runs


def draw_runs(runs: Mapping[str, Logs], keys: Sequence[str], smooth: int, path: Path) -> None:
    """Draw logged values of several runs over the steps, a panel for each key, as a PNG.

    Args:
        runs: logs by name.
        keys: names of the values.
        smooth: number of reports to average for each point.
        path: the file.
    """
    figure = new_figure(8, 1 + 3 * len(keys))
    for axes, key in zip(figure.subplots(len(keys), squeeze=False)[:, 0], keys, strict=True):
        for number, (name, logs) in enumerate(runs.items()):
            steps, values = _points(logs.get(key, {}))
            means = [
                sum(part) / len(part) for part in (values[max(0, i + 1 - smooth) : i + 1] for i in range(len(values)))
            ]
            axes.plot(steps, means, color=f"C{number}", label=name)
        axes.set(xlabel="step", ylabel=key)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    save_figure(figure, path)


def seeds_figure(groups: Mapping[str, Sequence[Logs]], keys: Sequence[str], ylabel: str, percent: bool) -> "Figure":
    """Draw logged values over the steps: of each group of runs the mean, within the range of its runs.

    Args:
        groups: logs of the runs of each group, by its name.
        keys: names of the values, which are drawn in one panel.
        ylabel: of the panel.
        percent: whether they are percentages.
    """
    figure = new_figure(8, 3.6)
    axes = figure.add_subplot()
    lines = [(_label(name, key, groups, keys), key, runs) for name, runs in groups.items() for key in keys]
    for number, (label, key, runs) in enumerate(lines):
        logged = [logs[key] for logs in runs if logs.get(key)]
        if not logged:
            continue
        steps = sorted(set.intersection(*map(set, logged)))
        values = [[each[step] for each in logged] for step in steps]
        style = "o-" if len(steps) < _MARKED else "-"
        axes.plot(steps, [sum(v) / len(v) for v in values], style, color=f"C{number}", label=label, markersize=3)
        if len(logged) > 1:
            low, high = ([pick(v) for v in values] for pick in (min, max))
            axes.fill_between(steps, low, high, color=f"C{number}", alpha=0.2, linewidth=0)
    axes.set(xlabel="step", ylabel=ylabel, **({"ylim": (0, 100)} if percent else {}))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _label(name: str, key: str, groups: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return what tells a line from the others: its group, what it shows, or both."""
    parts = [name] * (len(groups) > 1) + [key] * (len(keys) > 1)
    return ", ".join(parts or [key])


def _points(values: dict[int, float]) -> tuple[list[int], list[float]]:
    steps = sorted(values)
    return steps, [values[step] for step in steps]
