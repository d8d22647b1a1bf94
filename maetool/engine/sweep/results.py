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

from .rows import FINETUNED, Row

SPEED, MEMORY = "images/s", "GB"
RESULT = "result.json"
_NO_METRICS = ("config", "options", "data", "finetune", CHECKSUM)
_CLEAR = 3.0  # points; two standard errors of an accuracy on 1,000 images
_UNTRAINED = "untrained "
_ROLES = ("headline", "reference")


def columns_of(metrics: Mapping[str, MetricName]) -> dict[str, str]:
    """Return the table columns for the metrics of a validation: their names in the logs, by title.

    Metrics of features also have a column for the untrained encoder, and what they are compared with has one; every
    training has a speed and a peak of memory.
    """
    columns = {}
    for name, entry in metrics.items():
        columns[entry.heading] = f"val/{name}"
        if entry.features:
            columns[f"{_UNTRAINED}{entry.heading}"] = f"val/{name}"
    return {**columns, SPEED: "images_per_second", MEMORY: "peak_memory_gb"}


METRICS = columns_of(headlines(METRIC_NAMES, _ROLES))


def write_result(folder: Path, row: Row) -> None:
    """Write `result.json` of a finished run: the last measurements in its logs, and the settings of its row.

    Args:
        folder: of the run.
        row: what was trained; what was fine-tuned next lies in `FINETUNED` inside of the folder.
    """
    measured = _measured(folder, row.heading)
    if row.finetune:
        measured |= _measured(folder / FINETUNED, row.finetune.heading)
    write_file(folder / RESULT, sealed_json({**row.settings(), **measured}))


def _measured(folder: Path, heading: str) -> dict[str, float]:
    logs = read_logs(folder)
    names = [name.removeprefix("val/") for name in logs if name.startswith("val/")]
    columns = columns_of(headlines(names, _ROLES[:1] if heading else _ROLES))
    if heading:
        columns = {title: name for title, name in columns.items() if name.startswith("val/") and _is_last(title)}
    values = {heading + title: _result(title, logs[name]) for title, name in columns.items() if name in logs}
    return {title: value for title, value in values.items() if value is not None}


def _is_last(title: str) -> bool:
    return not title.startswith(_UNTRAINED)


def _result(title: str, values: Mapping[int, float]) -> float | None:
    if title.startswith(_UNTRAINED):
        return values.get(0)
    if title == MEMORY:
        return max(values.values())
    # The median of a speed, and the last value of everything else.
    return statistics.median(values.values()) if title == SPEED else values[max(values)]


def collect(out: Path, names: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """Return, by name and metric, the values of the finished seeds.

    Args:
        out: folder of the comparison, with a folder for each name, and in it one for each seed.
        names: of the rows.
    """
    results = {name: [read_result(path) for path in sorted((out / name).glob(f"seed_*/{RESULT}"))] for name in names}
    measured = [title for each in results.values() for result in each for title in result]
    titles = dict.fromkeys([*METRICS, *(title for title in measured if title not in _NO_METRICS)])
    return {
        name: {title: [result[title] for result in each if title in result] for title in titles}
        for name, each in results.items()
    }


def read_result(path: Path) -> dict[str, Any]:
    """Return the measurements in the file `path`, by column title, and the run's options; checks the checksum.

    Raises:
        UsageError: the file is damaged; of files without a checksum only the types are checked.
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
            f"{path} is damaged: delete it and run the same command again, which reads the numbers from that run's "
            "logs."
        )
    return result


def to_markdown(results: Mapping[str, Mapping[str, Sequence[float]]], failed: Mapping[str, str] | None = None) -> str:
    """Return a Markdown table of all measurements: the mean over seeds and, if they differ, the range in brackets.

    The last column notes rows with a failed run and rows that are no better than their untrained encoder; without notes
    it is left out.

    Args:
        results: the result of `collect`.
        failed: the result of `run_all`.
    """
    titles = dict.fromkeys(title for metrics in results.values() for title in metrics)
    titles = [title for title in titles if any(metrics.get(title) for metrics in results.values())]
    notes = {name: (failed or {}).get(name) or _verdict(metrics) for name, metrics in results.items()}
    heads = ["run", "seeds", *titles, *(["note"] if any(notes.values()) else [])]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, metrics in results.items():
        cells = [name, str(max(map(len, metrics.values()))), *(_cell(title, metrics[title]) for title in titles)]
        cells += [notes[name].replace("|", "/")] if "note" in heads else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _verdict(metrics: Mapping[str, Sequence[float]]) -> str:
    """Return a note on a row that learned nothing useful, else an empty text."""
    pairs = [(values, metrics.get(f"{_UNTRAINED}{title}")) for title, values in metrics.items()]
    gains = [statistics.mean(after) - statistics.mean(before) for after, before in pairs if after and before]
    if not gains or max(gains) >= _CLEAR:
        return ""
    return "**worse than untrained**" if max(gains) < 0 else "**not clearly better than untrained**"


def _cell(title: str, values: Sequence[float]) -> str:
    if not values:
        return ""
    form = "{:.0f}" if title == SPEED else "{:.1f}" if "%" in title or title == MEMORY else "{:.3f}"
    mean, low, high = (form.format(v) for v in (statistics.mean(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"
