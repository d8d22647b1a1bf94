"""Trains several configs, or one under several changes, with a few seeds each, and tells what came out."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from maetool._deprecated import moved
from maetool.cli import USAGE_EXIT
from maetool.compat import usable_cores
from maetool.config.load import complete_config, load_config, takes
from maetool.config.paths import find_config
from maetool.engine.launch import build_dataset
from maetool.errors import UsageError
from maetool.reading import read_file
from maetool.registry import LOOPS
from maetool.visualization.curves import read_logs
from maetool.weights.checksums import is_broken, sealed_json
from maetool.writing import write_file

from .rehearsal import what_hinders

METRICS = {
    "top-1 %": "val/top1",
    "mean average precision %": "val/mean_average_precision",
    "kNN %": "val/knn",
    "untrained kNN %": "val/knn",
    "linear probe %": "val/linear_probe",
    "untrained linear probe %": "val/linear_probe",
    "validation loss": "val/loss",
    "constant predictor": "val/constant_predictor",
    "images/s": "images_per_second",
}
_TRAINED = {"kNN %": "untrained kNN %", "linear probe %": "untrained linear probe %"}
_RESULT = "result.json"
_CLEAR = 3.0  # points; two standard errors of an accuracy that 1,000 images are asked for


@dataclass(frozen=True)
class Row:
    """What is trained with each seed: a config, and the options that change it."""

    config: str
    options: Sequence[str] = ()


@dataclass(frozen=True)
class Run:
    """One training: the name of its row, the row, its seed and its folder."""

    name: str
    row: Row
    seed: int
    folder: Path


def rows_of(configs: Sequence[str], runs: Mapping[str, Sequence[str]], common: Sequence[str] = ()) -> dict[str, Row]:
    """Return name to row: each run of one config under its own name, of several configs with the config's before it.

    Args:
        configs: paths or names; a config is called by its folder and its own name, such as "maskfeat_vit-t_shapes".
        runs: name to options; none, and each config is trained as it is.
        common: options of all rows.

    Raises:
        UsageError: two rows of the same name, or a config that does not exist.
    """
    rows: dict[str, Row] = {}
    for config in configs:
        path = find_config(config).resolve()
        called = f"{path.parent.name}_{path.stem}"
        for run, options in (runs or {"": []}).items():
            name = (run or called) if len(configs) == 1 else "_".join(filter(None, (called, run)))
            if name in rows:
                raise UsageError(f"Two rows would be called {name}: give each config once, each folder a name.")
            rows[name] = Row(config, [*common, *options])
    return rows


def run_all(rows: Mapping[str, Row], seeds: int, out: Path, jobs: int = 1) -> dict[str, str]:
    """Train every row with seeds 0, 1, ... in `out/<name>/seed_<n>`; finished ones are left alone, others go on.

    Args:
        rows: name to row.
        seeds: how many seeds each.
        out: folder of all runs.
        jobs: how many to train at a time, sharing the cores.

    Returns:
        The rows of which a run failed, to what it said last; the others are trained nevertheless.

    Raises:
        UsageError: before anything is trained: a config that cannot be read, an option that does not fit, a row whose
            training cannot begin, a damaged result, no seed or no job.
    """
    for row in rows.values():
        load_config(row.config, row.options)
    for name, value in (("seeds", seeds), ("jobs", jobs)):
        if value < 1:
            raise UsageError(f"--{name} is {value}, but must be at least 1.")
    planned = [Run(name, row, seed, out / name / f"seed_{seed}") for seed in range(seeds) for name, row in rows.items()]
    waiting = [run for run in planned if not (run.folder / _RESULT).is_file()]
    for run in planned:
        if run not in waiting:
            read_result(run.folder / _RESULT)
    _refuse_hindered(waiting, len(rows))
    out.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    mistaken: set[str] = set()  # rows whose other seeds would end alike

    def train(run: Run) -> None:
        code, problem = (0, "") if run.name in mistaken else _train(run, jobs)
        if code == USAGE_EXIT:
            mistaken.add(run.name)
        if problem:
            failed[run.name] = f"seed {run.seed} failed: {problem}"
            bar.write(f"{run.name}: {failed[run.name]}", file=sys.stderr)

    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(planned), initial=len(planned) - len(waiting)) as bar:
        for run, _ in zip(waiting, pool.map(train, waiting), strict=True):
            bar.set_postfix_str(f"{run.name}, seed {run.seed}")
            bar.update()
    return failed


def _refuse_hindered(waiting: Sequence[Run], rows: int) -> None:
    """Build what the first run of each row needs.

    Raises:
        UsageError: the training of a row cannot begin.
    """
    first: dict[str, tuple[str, list[str]]] = {}
    for run in waiting:
        first.setdefault(run.name, (run.row.config, _options(run)))
    if hindered := what_hinders(first):
        reasons = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in hindered.items())
        raise UsageError(f"{len(hindered)} of {rows} rows cannot be trained, so that none was: {reasons}.")


def _options(run: Run) -> list[str]:
    validation = load_config(run.row.config, run.row.options).get("val_cfg")
    probe = ["val_cfg.linear_probe=True"] if validation and takes(validation, LOOPS, "linear_probe") else []
    return [f"randomness.seed={run.seed}", *probe, *run.row.options]


def _train(run: Run, jobs: int) -> tuple[int, str]:
    """Train, write `result.json`, and return the exit code, and the last sentence of a run that failed."""
    command = [sys.executable, "-m", "maetool", "train", run.row.config, "--work-dir", str(run.folder), "--resume"]
    command += ["--cfg-options", *_options(run)]
    threads = str(max(1, usable_cores() // jobs))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was printed"])[-1]
        return done.returncode, last.removeprefix("error: ")
    logs = read_logs(run.folder)
    result = {title: _result(title, logs[name]) for title, name in METRICS.items() if name in logs}
    result = {title: value for title, value in result.items() if value is not None}
    content = {"options": list(run.row.options), **result}
    write_file(run.folder / _RESULT, sealed_json(content))
    return 0, ""


def _result(title: str, values: Mapping[int, float]) -> float | None:
    if title in _TRAINED.values():
        return values.get(0)
    # A speed is best told by its middle; everything else by where it ended.
    return statistics.median(values.values()) if title == "images/s" else values[max(values)]


def collect(out: Path, names: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """Return name to metric to the values of the seeds that are finished."""
    found: dict[str, dict[str, list[float]]] = {}
    for name in names:
        results = [read_result(path) for path in sorted((out / name).glob(f"seed_*/{_RESULT}"))]
        found[name] = {title: [r[title] for r in results if title in r] for title in METRICS}
    return found


def read_result(path: Path) -> dict[str, Any]:
    """Return what a finished run measured, by the titles of `METRICS`, and its options; the checksum is compared.

    Raises:
        UsageError: it is damaged; results written before there was a checksum are checked for their kind only.
    """
    try:
        content = read_file(path)
        result = json.loads(content)
    except (OSError, ValueError, RecursionError):
        content, result = b"", None
    numbers = [value for title, value in result.items() if title in METRICS] if isinstance(result, dict) else [None]
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
    titles = [title for title in METRICS if any(metrics.get(title) for metrics in found.values())]
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
    pairs = [(metrics[after], metrics[before]) for after, before in _TRAINED.items()]
    gains = [statistics.mean(after) - statistics.mean(before) for after, before in pairs if after and before]
    if not gains or max(gains) >= _CLEAR:
        return ""
    return "**worse than untrained**" if max(gains) < 0 else "**not clearly better than untrained**"


def _cell(title: str, values: Sequence[float]) -> str:
    if not values:
        return ""
    form = "{:.0f}" if title == "images/s" else "{:.1f}" if "%" in title else "{:.3f}"
    mean, low, high = (form.format(v) for v in (statistics.mean(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"


def over_labels(rows: Mapping[str, Row], shares: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Row]]:
    """Return share to name to row, for every row on every share of the labels; the names hold both.

    Args:
        rows: name to row.
        shares: share of the labels, such as "0.01", to options that go with it.

    Raises:
        UsageError: a share that is no number above 0 and up to 1.
    """
    for share in shares:
        if not share.replace(".", "", 1).isdecimal() or not 0 < float(share) <= 1:
            raise UsageError(f"--labels got the share {share}: give a number above 0 and up to 1, such as 0.01.")
    return {
        share: {
            f"{name}_{share}": Row(
                row.config, [f"train_dataloader.dataset.labels_fraction={share}", *row.options, *more]
            )
            for name, row in rows.items()
        }
        for share, more in shares.items()
    }


def label_curves(
    rows: Mapping[str, Row], shares: Mapping[str, Mapping[str, Row]], out: Path
) -> tuple[str, dict[str, dict[int, list[float]]]]:
    """Return the name of the first metric that was measured, and name to {number of labels: values of the seeds}.

    Args:
        rows: name to row.
        shares: what `over_labels` returned.
        out: folder of all runs.
    """
    curves: dict[str, dict[str, dict[int, list[float]]]] = {}
    for planned in shares.values():
        found = collect(out, list(planned))
        for name, (full, row) in zip(rows, planned.items(), strict=True):
            number = _count_images(row)
            for title in METRICS:
                if found[full][title]:
                    curves.setdefault(title, {}).setdefault(name, {})[number] = found[full][title]
    return next(((title, curves[title]) for title in METRICS if title in curves), ("", {}))


def _count_images(row: Row) -> int:
    cfg = load_config(row.config, row.options)
    complete_config(cfg)
    return len(build_dataset(cfg, "train_dataloader"))


__getattr__ = moved(__name__, {"draw": "maetool.visualization.comparison.draw"}, "0.3.0")
