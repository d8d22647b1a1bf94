"""The whole training loop of a config: images a second, share of the device's peak, share of the time waiting."""

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from maetool.config.facts import schedulers_in
from maetool.config.load import load_for
from maetool.engine.launch import build_runner
from maetool.models.operations import operations_per_sample
from maetool.ops.peaks import present_peak


class _Clock(Hook):
    """Notes when the loader has a batch ready and when its step is done."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.ready: list[float] = []
        self.done: list[float] = []
        self.operations: float | None = None  # of a sample, where the device's peak is known

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.ready.append(time.perf_counter())

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        outputs["loss"].item()  # waits for an accelerator
        if not self.done and present_peak():
            self.operations = operations_per_sample(runner.bare_model, data_batch)
        self.done.append(time.perf_counter())


def run(
    config: str | Path, data: str | None, options: Sequence[str], steps: int, rounds: int
) -> tuple[str, dict[str, Any]]:
    """Train for a few steps with the real runner, `rounds` times.

    Args:
        config: the recipe; its validation is left out.
        data: folder of images; the config's own without one.
        options: changes of the config, each `key.key=value`.
        steps: timed steps of a round, after three to warm up.
        rounds: runs.

    Raises:
        UsageError: a mistake in the config, or fewer images than the steps need.
    """
    results = [_train(config, data, options, steps + 3) for _ in range(rounds)]
    rates, waits = ([result[name] for result in results] for name in ("images_per_second", "waiting_share"))
    report = (
        f"{Path(config).stem}, {rounds} rounds of {steps} steps of {results[0]['batch_size']} images: "
        f"{statistics.median(rates):,.1f} images/s ({min(rates):,.1f} to {max(rates):,.1f}), "
        f"{statistics.median(waits):.1%} of the time waiting for images ({min(waits):.1%} to {max(waits):.1%})"
    )
    shares = [result["share_of_peak"] for result in results if result["share_of_peak"]]
    report += f", {statistics.median(shares):.1%} of the device's peak." if shares else "."
    return report, {"rounds": results}


def _train(config: str | Path, data: str | None, options: Sequence[str], steps: int) -> dict[str, Any]:
    cfg, _ = load_for(config, options, data)
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.custom_hooks = []
    cfg.default_hooks.logger = cfg.default_hooks.checkpoint = None
    cfg.train_cfg.max_epochs, cfg.train_cfg.max_iters = 1, None
    cfg.pop("effective_batch_size", None)
    for scheduler in schedulers_in(cfg):
        if "warmup_epochs" in scheduler:
            scheduler.warmup_epochs = 0
    batch = cfg.train_dataloader.batch_size
    name = "num_samples" if "num_samples" in cfg.train_dataloader.dataset else "limit"
    cfg.train_dataloader.dataset[name] = batch * steps
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir = folder
        runner, clock = build_runner(cfg), _Clock()
        runner.register_hook(clock)
        runner.train()
    return _shares(clock, batch)


def _shares(clock: _Clock, batch: int) -> dict[str, Any]:
    """Return the rate and the share of waiting, from the end of the third step on."""
    start, duration = clock.done[2], clock.done[-1] - clock.done[2]
    waited = sum(ready - done for ready, done in zip(clock.ready[3:], clock.done[2:-1], strict=True))
    rate, peak = batch * (len(clock.done) - 3) / duration, present_peak()
    return {
        "batch_size": batch,
        "images_per_second": rate,
        "share_of_peak": rate * clock.operations / peak if clock.operations and peak else None,
        "waiting_share": waited / duration,
        "seconds": [done - start for done in clock.done[3:]],
    }
