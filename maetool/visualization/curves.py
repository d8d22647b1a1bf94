"""Curves from the JSON logs."""

import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maetool.errors import UsageError
from maetool.reading import read_file

from .pictures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SEED = re.compile(r"seed_\d+")
_MARKED = 40  # points of a line, up to which each has a dot
_logger = logging.getLogger("maetool")

Logs = dict[str, dict[int, float]]


def read_logs(work_dir: Path) -> Logs:
    """Return {step: value} by name from the logs of a work folder; the later value counts if a step was repeated.

    A run that began anew in the folder of an earlier one, which had saved nothing or had been a trial with `--debug`,
    is the only one whose logs count; one that was resumed continues them.

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
        if any(map(_begins, filter(None, records))):
            logs.clear()
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


def _begins(record: Mapping[str, Any]) -> bool:
    """Return whether a record is that of the first iteration of a training."""
    return "loss" in record and record.get("step", 2) <= 1


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


def runs_in(folders: Sequence[Path]) -> list[Path]:
    """Return the folders of runs: those given, and in the place of one that holds runs, or rows of seeds, these."""
    found: list[Path] = []
    for folder in folders:
        each = (sorted(filter(_has_logs, folder.glob(form))) for form in ("*/seed_*", "*"))
        found += [folder] if _has_logs(folder) else next(filter(None, each), [folder])
    return list(dict.fromkeys(found))


def _has_logs(folder: Path) -> bool:
    return any(folder.glob("*/vis_data/scalars.json"))


def read_runs(folders: Sequence[Path], keys: Sequence[str]) -> dict[str, list[Logs]]:
    """Return the logs of work folders by name, the shortest end of the path that no other one has.

    Args:
        folders: work folders, or folders that hold such; seeds inside of one are together, by the name of its folder.
        keys: names that at least one of the runs must have logged.

    Raises:
        UsageError: a folder without logs, or a key that none of the runs logged.
    """
    rows: dict[Path, list[Logs]] = {}
    for folder in folders:
        for run in runs_in([folder]):
            logs = read_logs(run)
            if not logs:
                raise UsageError(f"{run} holds no logs of a run: pass work folders, such as work_dirs/mae_vit-b_800e.")
            together = run != folder and _SEED.fullmatch(run.name)
            rows.setdefault((run.parent if together else run).resolve(), []).append(logs)
    logged = sorted({name for runs in rows.values() for logs in runs for name in logs})
    for key in keys:
        if key not in logged:
            raise UsageError(f"None of the runs logged `{key}`: choose among {', '.join(logged)}.")
    return dict(zip(_short_names(list(rows)), rows.values(), strict=True))


def _short_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest end of each path that no other one has."""
    ends = [["/".join(path.parts[-n:]) for n in range(1, len(path.parts) + 1)] for path in paths]
    every = Counter(end for own in ends for end in own)
    return [next((end for end in own if every[end] == 1), own[-1]) for own in ends]


def draw_runs(
    runs: Mapping[str, Sequence[Logs]],
    keys: Sequence[str],
    smooth: int,
    path: Path,
    words: Mapping[str, str] | None = None,
) -> None:
    """Draw logged values of several runs over the steps, a panel for each key, as a PNG.

    Of several seeds the mean is drawn, within their range. Epochs are on a second axis if they are as long in all runs.

    Args:
        runs: logs of the seeds by name.
        keys: names of the values.
        smooth: number of reports to average for each point.
        path: the file.
        words: names of the values for people.
    """
    figure = new_figure(8, 1 + 3 * len(keys))
    panels = figure.subplots(len(keys), squeeze=False)[:, 0]
    for axes, key in zip(panels, keys, strict=True):
        for number, (name, seeds) in enumerate(runs.items()):
            _draw_seeds(axes, seeds, key, f"C{number}", name, smooth)
        axes.set(xlabel="step", ylabel=(words or {}).get(key, key))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    length = _steps_of_an_epoch([logs for seeds in runs.values() for logs in seeds])
    if length:
        top = panels[0].secondary_xaxis("top", functions=(lambda step: step / length, lambda epoch: epoch * length))
        top.set_xlabel("epoch")
    save_figure(figure, path)


def _steps_of_an_epoch(runs: Sequence[Logs]) -> float:
    """Return the number of steps of an epoch, 0 if it is unknown or not the same in all runs."""
    lengths = [_length_of_an_epoch(logs.get("epoch", {})) for logs in runs]
    return lengths[0] if lengths and max(lengths) <= 1.01 * min(lengths) else 0


def _length_of_an_epoch(epochs: Mapping[int, float]) -> float:
    """Return the steps of an epoch, by the epoch, from 1, of each reported step; 0 if no length fits them all."""
    least = max((step / epoch for step, epoch in epochs.items()), default=0)  # the last step of a run is reported
    fits = all((epoch - 1) * least < step for step, epoch in epochs.items())
    return least if fits and max(epochs.values(), default=0) > 1 else 0


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
        _draw_seeds(axes, runs, key, f"C{number}", label)
    axes.set(xlabel="step", ylabel=ylabel, **({"ylim": (0, 100)} if percent else {}))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _draw_seeds(axes: Any, runs: Sequence[Logs], key: str, colour: str, label: str, smooth: int = 1) -> None:
    """Draw a value of repeated runs: the mean within their range, nothing if none logged it."""
    logged = [logs[key] for logs in runs if logs.get(key)]
    if not logged:
        return
    steps = sorted(set.intersection(*map(set, logged)))
    lines = [_smoothed([values[step] for step in steps], smooth) for values in logged]
    values = list(zip(*lines, strict=True))
    style = "o-" if len(steps) < _MARKED else "-"
    axes.plot(steps, [sum(v) / len(v) for v in values], style, color=colour, label=label, markersize=3)
    if len(logged) > 1:
        low, high = ([pick(v) for v in values] for pick in (min, max))
        axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)


def _smoothed(values: Sequence[float], smooth: int) -> list[float]:
    """Return for each value the mean of the last `smooth` ones."""
    parts = (values[max(0, i + 1 - smooth) : i + 1] for i in range(len(values)))
    return [sum(part) / len(part) for part in parts]


def _label(name: str, key: str, groups: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return what tells a line from the others: its group, what it shows, or both."""
    parts = [name] * (len(groups) > 1) + [key] * (len(keys) > 1)
    return ", ".join(parts or [key])


def _points(values: dict[int, float]) -> tuple[list[int], list[float]]:
    steps = sorted(values)
    return steps, [values[step] for step in steps]
