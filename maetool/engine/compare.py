"""Runs the same training under several changes and seeds, and tells what came out."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from maetool.compat import usable_cores
from maetool.errors import UsageError
from maetool.registry import LOOPS
from maetool.visualization.curves import read_logs

from .config import complete_config, load_config, takes
from .launch import build_dataset

METRICS = {
    "top-1 %": "val/top1",
    "mean average precision %": "val/mean_average_precision",
    "kNN %": "val/knn",
    "linear probe %": "val/linear_probe",
    "validation loss": "val/loss",
    "constant predictor": "val/constant_predictor",
    "images/s": "images_per_second",
}
_TRAIN = Path(__file__).parents[2] / "tools" / "train.py"


@dataclass(frozen=True)
class Run:
    """One training: its name, its seed, the options that make it what it is, and its folder."""

    name: str
    seed: int
    options: Sequence[str]
    folder: Path


def run_all(config: str, runs: Mapping[str, Sequence[str]], seeds: int, out: Path, jobs: int = 1) -> None:
    """Train every run with seeds 0, 1, ... in `out/<name>/seed_<n>`; finished ones are left alone, others go on.

    Args:
        config: path of the config.
        runs: name to options.
        seeds: how many seeds each.
        out: folder of all runs.
        jobs: how many to train at a time, sharing the cores.

    Raises:
        UsageError: a run failed; the message ends with what it printed last.
    """
    planned = [
        Run(name, seed, options, out / name / f"seed_{seed}") for seed in range(seeds) for name, options in runs.items()
    ]
    waiting = [run for run in planned if not (run.folder / "result.json").is_file()]
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(planned), initial=len(planned) - len(waiting)) as bar:
        for run in pool.map(lambda run: _train(config, run, jobs), waiting):
            bar.set_postfix_str(f"{run.name}, seed {run.seed}")
            bar.update()


def _train(config: str, run: Run, jobs: int) -> Run:
    validation = load_config(config, run.options).get("val_cfg")
    probe = ["val_cfg.linear_probe=True"] if validation and takes(validation, LOOPS, "linear_probe") else []
    options = [f"randomness.seed={run.seed}", *probe, *run.options]
    command = [
        sys.executable,
        str(_TRAIN),
        config,
        "--work-dir",
        str(run.folder),
        "--resume",
        "--cfg-options",
        *options,
    ]
    threads = str(max(1, usable_cores() // jobs))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was printed"])[-1]
        raise UsageError(f"The run {run.name} with seed {run.seed} failed ({last}): correct it and start again.")
    logs = read_logs(run.folder)
    result = {title: _result(title, logs[name]) for title, name in METRICS.items() if name in logs}
    (run.folder / "result.json").write_text(json.dumps({"options": list(run.options), **result}, indent=2) + "\n")
    return run


def _result(title: str, values: Mapping[int, float]) -> float:
    # A speed is best told by its middle; everything else by where it ended.
    return statistics.median(values.values()) if title == "images/s" else values[max(values)]


def collect(out: Path, names: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """Return name to metric to the values of the seeds that are finished."""
    found: dict[str, dict[str, list[float]]] = {}
    for name in names:
        results = [json.loads(path.read_text()) for path in sorted((out / name).glob("seed_*/result.json"))]
        found[name] = {title: [r[title] for r in results if title in r] for title in METRICS}
    return found


def to_markdown(found: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Return a table of what any run measured: mean and, in brackets, lowest to highest over the seeds."""
    titles = [title for title in METRICS if any(metrics.get(title) for metrics in found.values())]
    lines = ["| run | seeds | " + " | ".join(titles) + " |", "|---" * (len(titles) + 2) + "|"]
    for name, metrics in found.items():
        cells = [_cell(title, metrics[title]) for title in titles]
        lines.append(f"| {name} | {max(map(len, metrics.values()))} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(title: str, values: Sequence[float]) -> str:
    if not values:
        return ""
    form = "{:.0f}" if title == "images/s" else "{:.1f}" if "%" in title else "{:.3f}"
    mean, low, high = (form.format(v) for v in (statistics.mean(values), min(values), max(values)))
    return f"{mean} ({low} to {high})"


def draw(found: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """Draw the accuracies of each run, one dot for each seed, as a PNG."""
    figure = Figure(figsize=(1.5 + 1.1 * len(found), 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    titles = [title for title in METRICS if "%" in title and any(metrics[title] for metrics in found.values())]
    for number, title in enumerate(titles):
        shift = 0.24 * (number - (len(titles) - 1) / 2)
        points = [(i + shift, v) for i, metrics in enumerate(found.values()) for v in metrics[title]]
        axes.plot(*zip(*points, strict=True), "o", label=title, alpha=0.7)
    axes.set_xticks(range(len(found)), list(found), rotation=30, ha="right")
    axes.set(ylabel="accuracy (%)")
    axes.grid(alpha=0.3)
    if titles:
        axes.legend()
    figure.savefig(path)


def over_labels(
    runs: Mapping[str, Sequence[str]], shares: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, list[str]]]:
    """Return share to name to options of every run on every share of the labels; the names hold both.

    Args:
        runs: name to options.
        shares: share of the labels, such as "0.01", to options that go with it.

    Raises:
        UsageError: a share that is no number above 0 and up to 1.
    """
    for share in shares:
        if not share.replace(".", "", 1).isdecimal() or not 0 < float(share) <= 1:
            raise UsageError(f"--labels got the share {share}: give a number above 0 and up to 1, such as 0.01.")
    return {
        share: {
            f"{name}_{share}": [f"train_dataloader.dataset.labels_fraction={share}", *options, *more]
            for name, options in runs.items()
        }
        for share, more in shares.items()
    }


def label_curves(
    config: str, runs: Mapping[str, Sequence[str]], shares: Mapping[str, Mapping[str, Sequence[str]]], out: Path
) -> tuple[str, dict[str, dict[int, list[float]]]]:
    """Return the name of the first metric that was measured, and name to {number of labels: values of the seeds}.

    Args:
        config: path of the config.
        runs: name to options.
        shares: what `over_labels` returned.
        out: folder of all runs.
    """
    curves: dict[str, dict[str, dict[int, list[float]]]] = {}
    for planned in shares.values():
        found = collect(out, list(planned))
        for name, (full, options) in zip(runs, planned.items(), strict=True):
            number = _count_images(config, options)
            for title in METRICS:
                if found[full][title]:
                    curves.setdefault(title, {}).setdefault(name, {})[number] = found[full][title]
    return next(((title, curves[title]) for title in METRICS if title in curves), ("", {}))


def _count_images(config: str, options: Sequence[str]) -> int:
    cfg = load_config(config, options)
    complete_config(cfg)
    return len(build_dataset(cfg, "train_dataloader"))
