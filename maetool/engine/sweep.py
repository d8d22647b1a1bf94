"""Trains several configs, or variants of one, with a few seeds each, and tabulates the results."""

import os
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
from maetool.evaluation.names import name_evaluators
from maetool.registry import LOOPS

from .rehearsal import what_hinders
from .sweep_results import METRICS, RESULT, collect, read_result, to_markdown, write_result

__all__ = [
    "METRICS",
    "Row",
    "Run",
    "collect",
    "label_curves",
    "over_labels",
    "read_result",
    "rows_of",
    "run_all",
    "to_markdown",
]


@dataclass(frozen=True)
class Row:
    """A config and options, trained once with each seed."""

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
    """Return the rows by name: a run's own name, preceded by the config's name if there are several configs.

    Args:
        configs: paths or names; a config's name is that of its folder and file, such as "maskfeat_vit-t_shapes".
        runs: options by name; if empty, each config is trained unchanged.
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
                raise UsageError(
                    f"Two rows would be called {name}: list each config once, and use different folder names."
                )
            rows[name] = Row(config, [*common, *options])
    return rows


def run_all(rows: Mapping[str, Row], seeds: int, out: Path, jobs: int = 1) -> dict[str, str]:
    """Train every row with seeds 0, 1, ... in `out/<name>/seed_<n>`; finished runs are kept, interrupted ones resumed.

    Args:
        rows: rows by name.
        seeds: number of seeds per row.
        out: folder of all runs.
        jobs: number of simultaneous trainings, which share the cores.

    Returns:
        The last message of each row with a failed run, by name; the other rows are trained nevertheless.

    Raises:
        UsageError: before training: a config that cannot be read, an option that does not fit, a row whose training
            cannot begin, a damaged result, no seed or no job.
    """
    for row in rows.values():
        load_config(row.config, row.options)
    for name, value in (("seeds", seeds), ("jobs", jobs)):
        if value < 1:
            raise UsageError(f"--{name} is {value}, but must be at least 1.")
    planned = [Run(name, row, seed, out / name / f"seed_{seed}") for seed in range(seeds) for name, row in rows.items()]
    waiting = [run for run in planned if not (run.folder / RESULT).is_file()]
    for run in planned:
        if run not in waiting:
            read_result(run.folder / RESULT)
    _refuse_hindered(waiting, len(rows))
    out.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    mistaken: set[str] = set()  # rows whose other seeds would fail in the same way

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
        raise UsageError(f"{len(hindered)} of {rows} rows cannot be trained, so none was: {reasons}.")


def _options(run: Run) -> list[str]:
    loop = load_config(run.row.config, run.row.options).get("val_cfg") or {}
    return [f"randomness.seed={run.seed}", *_probe(loop), *run.row.options]


def _probe(loop: Mapping[str, Any]) -> list[str]:
    """Return the option that adds a linear probe to a validation with labelled bank images."""
    if loop and takes({"type": "ValLoop", **loop}, LOOPS, "linear_probe"):
        return ["val_cfg.linear_probe=True"]
    kinds = [each.get("type") for each in (loop.get("evaluators") or {}).values() if each]
    if not loop.get("bank_dataloader") or "KnnEvaluator" not in kinds or "LinearProbeEvaluator" in kinds:
        return []
    return ["val_cfg.evaluators.linear_probe={'type': 'LinearProbeEvaluator', 'optional': True}"]


def _train(run: Run, jobs: int) -> tuple[int, str]:
    """Train, write `result.json`, and return the exit code and, after a failure, the last line of output."""
    command = [sys.executable, "-m", "maetool", "train", run.row.config, "--work-dir", str(run.folder), "--resume"]
    command += ["--cfg-options", *_options(run)]
    threads = str(max(1, usable_cores() // jobs))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was printed"])[-1]
        return done.returncode, last.removeprefix("error: ")
    name_evaluators(load_config(run.row.config, run.row.options).get("val_cfg"))
    write_result(run.folder, run.row.options)
    return 0, ""


def over_labels(rows: Mapping[str, Row], shares: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Row]]:
    """Return, by share of the labels, the rows by name; each name contains row and share.

    Args:
        rows: rows by name.
        shares: additional options by share of the labels, such as "0.01".

    Raises:
        UsageError: a share is not a number above 0 and up to 1.
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
    """Return the first metric that was measured, and by row {number of labels: values of the seeds}.

    Args:
        rows: rows by name.
        shares: the result of `over_labels`.
        out: folder of all runs.
    """
    curves: dict[str, dict[str, dict[int, list[float]]]] = {}
    for planned in shares.values():
        results = collect(out, list(planned))
        for name, (full, row) in zip(rows, planned.items(), strict=True):
            number = _count_images(row)
            for title, values in results[full].items():
                if values:
                    curves.setdefault(title, {}).setdefault(name, {})[number] = values
    return next(((title, curves[title]) for title in (*METRICS, *curves) if title in curves), ("", {}))


def _count_images(row: Row) -> int:
    cfg = load_config(row.config, row.options)
    complete_config(cfg)
    return len(build_dataset(cfg, "train_dataloader"))


__getattr__ = moved(__name__, {"draw": "maetool.visualization.comparison.draw"}, "0.3.0")
