"""Trainings of a few steps: how long a step takes, and what a candidate comes to."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maetool.cli import StoppedError
from maetool.config.load import load_for
from maetool.engine.launch import build_runner

from .facts import Facts
from .plan import Choice, Plan
from .rules import schedule

_WARM = 5  # steps before the time is taken
_WITHOUT = ("default_hooks.checkpoint", "custom_hooks.pictures", "custom_hooks.loss_curve", "custom_hooks.progress")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the logs of a short training, which nobody keeps, from the terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)


def train_short(plan: Plan, facts: Facts, steps: int, folder: Path) -> tuple[Any, float, float]:
    """Train for a few steps; return the model, its loss by that of a constant prediction, and the seconds of a step.

    Args:
        plan: what is trained.
        facts: of the images.
        steps: how many, more than 5.
        folder: for its files, which nobody needs later.

    Raises:
        StoppedError: a scheduler asked the program to stop.
    """
    batch = plan.value("train_dataloader.batch_size")
    short = [choice for choice in schedule(steps, facts, 1.0, batch) if not choice.key.startswith("default_hooks")]
    short += [Choice(name, None) for name in _WITHOUT]
    # Otherwise MMEngine gives two trainings that begin in the same second one log.
    short += [Choice("experiment_name", f"{folder.name}_{steps}")]
    folder.mkdir(parents=True, exist_ok=True)
    path = plan.changed(*short).write(folder / "plan.py")
    with quiet():
        runner = build_runner(load_for(path, flags={"work_dir": str(folder / "run")})[0])
        runner.train()
    if runner.stopped:
        raise StoppedError("asked to while a short training ran, of which nothing is kept")
    scalars = runner.message_hub.log_scalars
    loss, constant = (scalars[f"train/{name}"].mean(max(1, steps // 5)) for name in ("loss", "constant_predictor"))
    seconds = scalars["train/time"].mean(max(1, steps - _WARM))
    return runner.bare_model, float(loss / max(constant, 1e-12)), float(seconds)
