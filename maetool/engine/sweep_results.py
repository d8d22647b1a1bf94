"""The result files of a sweep, and the table made from them."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maetool.errors import UsageError
from maetool.evaluation.names import METRIC_NAMES, MetricName, headlines
from maetool.reading import read_file
from maetool.visualization.curves import read_logs
from maetool.weights.checksums import CHECKSUM, is_broken, sealed_json
from maetool.writing import write_file

SPEED = "images/s"
RESULT = "result.json"
_NO_METRICS = ("options", CHECKSUM)
_CLEAR = 3.0  # points; two standard errors of an accuracy that 1,000 images are asked for
_UNTRAINED = "untrained "


def columns_of(metrics: Mapping[str, MetricName]) -> dict[str, str]:
    """Return the columns that the metrics of a validation fill: title to their name in the logs.

    What the features are worth has a column for the untrained encoder too, and a training has a speed.
    """
    columns = {}
    for name, entry in metrics.items():
        columns[entry.heading] = f"val/{name}"
        if entry.features:
            columns[f"{_UNTRAINED}{entry.heading}"] = f"val/{name}"
    return {**columns, SPEED: "images_per_second"}


METRICS = columns_of(headlines(METRIC_NAMES))


def write_result(folder: Path, options: Sequence[str]) -> None:
    """Write `result.json` of a run that is over: what its logs say was measured last, and the options of its row."""
    logs = read_logs(folder)
    columns = columns_of(headlines(name.removeprefix("val/") for name in logs if name.startswith("val/")))
    result = {title: _result(title, logs[name]) for title, name in columns.items() if name in logs}
    result = {title: value for title, value in result.items() if value is not None}
    write_file(folder / RESULT, sealed_json({"options": list(options), **result}))


def _result(title: str, values: Mapping[int, float]) -> float | None:
    if title.startswith(_UNTRAINED):
        return values.get(0)
    # A speed is best told by its middle; everything else by where it ended.
    return statistics.median(values.values()) if title == SPEED else values[max(values)]


def collect(out: Path, names: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """Return name to metric to the values of the seeds that are finished."""
    results = {name: [read_result(path) for path in sorted((out / name).glob(f"seed_*/{RESULT}"))] for name in names}
    measured = [title for each in results.values() for result in each for title in result]
    titles = dict.fromkeys([*METRICS, *(title for title in measured if title not in _NO_METRICS)])
    return {
        name: {title: [result[title] for result in each if title in result] for title in titles}
        for name, each in results.items()
    }


def read_result(path: Path) -> dict[str, Any]:
    """Return what a finished run measured, by the titles of the columns, and its options; the checksum is compared.

    Raises:
        UsageError: it is damaged; results written before there was a checksum are checked for their kind only.
    """
    try:
        content = read_file(path)
        result = json.loads(content)
    except (OSError, ValueError, RecursionError):
        content, result = b"", None
    result = result if isinstance(result, dict) else {"": None}
    numbers = [value for title, value in result.items() if title not in _NO_METRICS]
    if is_broken(content) or not all(isinstance(value, int | float) for value in numbers):
        raise UsageError(
            f"{path} is damaged: delete it and run the same command again; it takes the numbers from that run's logs."
        )
    return result


def to_markdown(found: Mapping[str, Mapping[str, Sequence[float]]], failed: Mapping[str, str] | None = None) -> str:
    """Return a table of what any row measured: mean and, in brackets where they differ, lowest to highest of the seeds.

    The last column says of which row a run failed, and which is no better than its encoder was before training; it is
    left out where there is nothing to say.

    Args:
        found: what `collect` returned.
        failed: what `run_all` returned.
    """
    titles = dict.fromkeys(title for metrics in found.values() for title in metrics)
    titles = [title for title in titles if any(metrics.get(title) for metrics in found.values())]
    notes = {name: (failed or {}).get(name) or _verdict(metrics) for name, metrics in found.items()}
    heads = ["run", "seeds", *titles, *(["note"] if any(notes.values()) else [])]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, metrics in found.items():
        cells = [name, str(max(map(len, metrics.values()))), *(_cell(title, metrics[title]) for title in titles)]
        cells += [notes[name].replace("|", "/")] if "note" in heads else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _verdict(metrics: Mapping[str, Sequence[float]]) -> str:
    """Return what is to be said of a row that learned nothing useful, or nothing."""
    pairs = [(values, metrics.get(f"{_UNTRAINED}{title}")) for title, values in metrics.items()]
    gains = [statistics.mean(after) - statistics.mean(before) for after, before in pairs if after and before]
    if not gains or max(gains) >= _CLEAR:
        return ""
    return "**worse than untrained**" if max(gains) < 0 else "**not clearly better than untrained**"


def _cell(title: str, values: Sequence[float]) -> str:
    if not values:
        return ""
    form = "{:.0f}" if title == SPEED else "{:.1f}" if "%" in title else "{:.3f}"
    mean, low, high = (form.format(v) for v in (statistics.mean(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"
