"""Trains several configs, or variants of one, with a few seeds each, and tabulates the results."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from maetool.cli import USAGE_EXIT
from maetool.compat import usable_cores
from maetool.config.facts import task_in
from maetool.config.load import takes
from maetool.config.paths import find_config
from maetool.engine.rehearsal import what_hinders
from maetool.errors import UsageError
from maetool.evaluation.names import name_evaluators
from maetool.pretrained.as_trained import options_as_trained
from maetool.registry import LOOPS
from maetool.weights.read import read_checkpoint
from maetool.weights.work_dir import checkpoints_in

from .results import RESULT, read_result, write_result
from .rows import FINETUNED, Row


@dataclass(frozen=True)
class Run:
    """One training: the name of its row, the row, its seed and its folder."""

    name: str
    row: Row
    seed: int
    folder: Path


def rows_of(
    configs: Sequence[str],
    runs: Mapping[str, Sequence[str]],
    common: Sequence[str] = (),
    data: str | None = None,
) -> dict[str, Row]:
    """Return the rows by name: a run's own name, preceded by the config's name if there are several configs.

    Args:
        configs: paths or names; a config's name is that of its folder and file, such as "maskfeat_vit-t_shapes".
        runs: options by name; if empty, each config is trained unchanged.
        common: options of all rows.
        data: images to train and validate on in place of the configs' own, as `--data` of `maetool train`.

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
            rows[name] = Row(config, [*common, *options], data)
    return rows


def with_finetuning(rows: Mapping[str, Row], finetune: str, data: str | None = None) -> dict[str, Row]:
    """Return the rows, each fine-tuned after its training, and "scratch", the same from an untrained encoder.

    Args:
        rows: rows by name.
        finetune: "CONFIG KEY=VALUE ...".
        data: images in place of the config's own.

    Raises:
        UsageError: no config, one of pretraining, an option without "=", or a row is called "scratch".
    """
    config, *options = finetune.split() or [""]
    if not config or "=" in config or not all("=" in option for option in options):
        raise UsageError(f'--finetune got "{finetune}", but must be a config and options, "CONFIG KEY=VALUE ...".')
    if "scratch" in rows:
        raise UsageError('A row is called "scratch", as that of --finetune is: give it another name.')
    stage = Row(config, options, data, heading="fine-tuned ")
    section = stage.load().model
    if task_in(section) == "pretraining":
        raise UsageError(
            f"--finetune got {config}, whose {section.type} would go on pretraining, but must be a config of a "
            "classifier, regressor, segmentor or detector, such as maetool::finetune/vit-s_100e.py."
        )
    return {**{name: replace(row, finetune=stage) for name, row in rows.items()}, "scratch": stage}


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
            cannot begin, a finished run of other options or data, a damaged result, no seed or no job.
    """
    for row in rows.values():
        row.load()
    for name, value in (("seeds", seeds), ("jobs", jobs)):
        if value < 1:
            raise UsageError(f"--{name} is {value}, but must be at least 1.")
    planned = [Run(name, row, seed, out / name / f"seed_{seed}") for seed in range(seeds) for name, row in rows.items()]
    waiting = [run for run in planned if not (run.folder / RESULT).is_file()]
    for run in planned:
        if run not in waiting:
            _refuse_other(run, read_result(run.folder / RESULT))
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

    with ThreadPoolExecutor(jobs) as pool, _bar(len(planned), len(waiting)) as bar:
        for run, _ in zip(waiting, pool.map(train, waiting), strict=True):
            bar.set_postfix_str(f"{run.name}, seed {run.seed}")
            bar.update()
    return failed


def _refuse_other(run: Run, result: Mapping[str, Any]) -> None:
    """Refuse the result of a run whose row has changed since, and which would be kept as if it had not."""
    now = {"finetune": None, **run.row.settings()}
    unsaid = {**now, "data": None, "finetune": None}  # of results of earlier versions
    then = {name: result.get(name, unsaid[name]) for name in now}
    changed = [f"{name} {then[name]}, now {now[name]}" for name in now if then[name] != now[name]]
    if changed:
        raise UsageError(
            f"{run.folder} holds a finished run of other settings ({'; '.join(changed)}): choose another --out or "
            "another name for the row, or delete the folder."
        )


def _bar(planned: int, waiting: int) -> tqdm:
    return tqdm(total=planned, initial=planned - waiting, unit="run", dynamic_ncols=True, disable=None)


def _refuse_hindered(waiting: Sequence[Run], rows: int) -> None:
    """Build what the first run of each row needs.

    Raises:
        UsageError: the training of a row cannot begin.
    """
    first: dict[str, tuple[str, list[str], str | None]] = {}
    for run in waiting:
        first.setdefault(run.name, (run.row.config, _options(run), run.row.data))
    if hindered := what_hinders(first):
        reasons = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in hindered.items())
        raise UsageError(f"{len(hindered)} of {rows} rows cannot be trained, so none was: {reasons}.")


def _options(run: Run) -> list[str]:
    loop = run.row.load().get("val_cfg") or {}
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
    code, problem = _start(run.row, run.folder, _options(run), jobs)
    if run.row.finetune and not problem:
        options = [*_initial(run), *run.row.finetune.options]
        code, problem = _start(run.row.finetune, run.folder / FINETUNED, options, jobs)
    if not problem:
        for row in filter(None, (run.row, run.row.finetune)):
            name_evaluators(row.load().get("val_cfg"))
        write_result(run.folder, run.row)
    return code, problem


def _initial(run: Run) -> list[str]:
    """Return the options that fine-tune the encoder of a finished run, which may be another than the config's."""
    checkpoint = checkpoints_in(run.folder)[0]
    assert run.row.finetune is not None
    encoder = options_as_trained(run.row.finetune.load().model, read_checkpoint(checkpoint).get("meta"))
    return [f"randomness.seed={run.seed}", f"init_from={checkpoint}", *encoder]


def _start(row: Row, folder: Path, options: Sequence[str], jobs: int) -> tuple[int, str]:
    command = [sys.executable, "-m", "maetool", "train", row.config, "--work-dir", str(folder), "--resume"]
    command += ["--data", row.data] if row.data else []
    done = subprocess.run([*command, "--cfg-options", *options], capture_output=True, text=True, env=_environment(jobs))
    if not done.returncode:
        return 0, ""
    last = (done.stderr.strip().splitlines() or ["nothing was printed"])[-1]
    return done.returncode, last.removeprefix("error: ")


def _environment(jobs: int) -> dict[str, str]:
    """Return the environment of a training: its share of the cores, unless the user has set the number of threads."""
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, usable_cores() // jobs))
    return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **os.environ}
